/**
 * Every place where a crash would matter, and what it stands between. `disk` = bytes were just written to this machine's
 * disk there: a full disk and a flipped bit can be played as well. A test compares this list with the calls in the code.
 */
export const failpoints = {
  'activity.before': { what: 'any activity, before its first line', disk: false },
  'activity.after': { what: 'any activity, done but not reported yet', disk: false },
  'look.after-list': { what: 'the inbox was listed, nothing is decided', disk: false },
  'look.before-commit': { what: 'what a look decided is written, not committed', disk: false },
  'look.after-commit': { what: 'a deposit is complete, its life has not begun', disk: false },
  'look.after-start': { what: 'the lives of complete deposits have begun', disk: false },
  'reconcile.before-start': { what: 'a life was found missing, and is not started yet', disk: false },
  'take-in.after-read': { what: 'the source stands on scratch, hashed', disk: true },
  'take-in.after-judge': { what: 'the file was decoded and found fit', disk: false },
  'take-in.after-announce': { what: 'the original is announced, not put', disk: false },
  'take-in.after-put': { what: 'the original stands in the primary store, no row says so', disk: false },
  'take-in.before-commit': { what: 'the rows of a new recording are written, not committed', disk: false },
  'take-in.after-commit': { what: 'the recording exists, its activity has not said so', disk: false },
  'quarantine.after-row': { what: 'a deposit is in quarantine, its life does not know', disk: false },
  'duplicate.after-row': {
    what: 'a deposit is linked to the first of its bytes, its own original still stands',
    disk: false,
  },
  'duplicate.after-removal': {
    what: 'the own original of a duplicate is removed, its source still stands',
    disk: false,
  },
  'revision.after-drop': { what: 'a revision was let go of, its original still stands', disk: false },
  'refuse.after-row': { what: 'a person gave a deposit up', disk: false },
  'claim.before-commit': { what: 'the claim is opened, not committed', disk: false },
  'claim.after-commit': { what: 'the claim is open, the life does not know', disk: false },
  'notice.before-send': { what: 'a mail is composed, not handed over', disk: false },
  'notice.after-send': { what: 'a mail was handed over, no row says so', disk: false },
  'notice.after-row': { what: 'a mail was handed over and noted', disk: false },
  'encode.begin-before-commit': { what: 'the encode plan is written, not committed', disk: false },
  'encode.begin-after-commit': { what: 'the encode stage has begun, the life does not know', disk: false },
  'encode.after-download': { what: 'the original stands on scratch, not hashed yet', disk: true },
  'encode.after-make': { what: 'renditions stand on scratch, checked', disk: false },
  'encode.before-put': { what: 'a rendition is hashed, not stored', disk: true },
  'encode.after-put': { what: 'a rendition is stored, no row says so', disk: false },
  'encode.before-publish': { what: 'all renditions are stored, none counts', disk: false },
  'encode.publish-before-commit': { what: 'the rows of the renditions are written, not committed', disk: false },
  'encode.after-publish': { what: 'the renditions count, the activity has not said so', disk: false },
  'encode.end-before-commit': { what: 'the encode stage is ended, not committed', disk: false },
  'encode.end-after-commit': { what: 'the archive stage has begun, the life does not know', disk: false },
  'archive.before-manifest': { what: 'every file stands in the primary store, the manifest does not', disk: false },
  'archive.after-manifest': { what: 'the manifest is stored, no row says so', disk: false },
  'archive.before-commit': { what: "the manifest's row is written, not committed", disk: false },
  'archive.after-commit': { what: 'the package is sealed, the activity has not said so', disk: false },
  'replicate.before-copy': { what: 'a copy is owed to a backup', disk: false },
  'replicate.after-copy': { what: 'a copy stands in a backup, no row says so', disk: false },
  'replicate.after-copy-row': { what: 'a copy is noted, not verified', disk: false },
  'replicate.before-read-back': { what: 'a copy is about to be read back', disk: false },
  'replicate.after-read-back': { what: 'a copy was read back, no row says so', disk: false },
  'replicate.after-check-row': { what: 'a copy is verified', disk: false },
  'replicate.protect-before-commit': { what: 'every copy is verified, "protected" is not committed', disk: false },
  'replicate.protect-after-commit': { what: 'the recording is protected, the life does not know', disk: false },
  'mend.after-delete': { what: 'an object that was seen wrong is removed, the right one is not put yet', disk: false },
  'mend.after-put': { what: 'the right bytes are put in its place, no row says so', disk: false },
  'release.before-delete': { what: 'the source may go, and still stands', disk: false },
  'release.after-delete': { what: 'the source is removed, no row says so', disk: false },
  'release.after-sidecars': { what: 'source and sidecars are removed, no row says so', disk: false },
  'release.after-row': { what: 'the source is noted as released', disk: false },
  'retain.before-commit': { what: 'the plan is written, not committed', disk: false },
  'retain.after-commit': { what: 'the recording is retained, the life does not know', disk: false },
  'request.before-commit': { what: "the policy's request to delete is written, not committed", disk: false },
  'request.after-commit': { what: 'deletion is requested, the life does not know', disk: false },
  'command.after-lock': { what: "a person's command has the recording locked, undecided", disk: false },
  'command.before-commit': { what: "a person's command is written, not committed", disk: false },
  'command.after-commit': { what: "a person's command is carried out, the life does not know", disk: false },
  'facts.after-load': { what: 'the facts are loaded for the life', disk: false },
  'waiting.after-write': { what: 'what a recording waits for is written', disk: false },
  'park.after-write': { what: 'a problem is written, the life does not know', disk: false },
  'unpark.after-write': { what: 'a problem is resolved, the life does not know', disk: false },
  'purge.begin-before-commit': { what: 'the purge is opened, not committed', disk: false },
  'purge.begin-after-commit': { what: 'the purge is open, the life does not know', disk: false },
  'purge.before-copy': { what: 'a copy is about to be removed', disk: false },
  'purge.before-copy-row': { what: 'a copy is removed, no row says so', disk: false },
  'purge.after-copy-row': { what: 'a copy is noted as purged', disk: false },
  'purge.after-strays': { what: "everything under the recording's prefix is removed from a store", disk: false },
  'purge.source-before-delete': { what: 'a source that never left the inbox is about to be removed', disk: false },
  'purge.source-after-delete': { what: 'the source is removed, no row says so', disk: false },
  'certify.before-commit': { what: 'the certificate is signed and written, not committed', disk: false },
  'certify.after-commit': { what: 'the certificate is issued, the life does not know', disk: false },
  'local.during-write': { what: 'a local put has written a part of its temporary file', disk: true },
  'local.after-write': { what: 'a local put has written and synced its temporary file', disk: true },
  'local.after-link': { what: 'a local put has given its file the final name', disk: true },
  'local.after-unlink': { what: 'a local delete has removed the name', disk: false },
  's3.after-put': { what: 'an S3 put was answered', disk: false },
  's3.after-create': { what: 'a multipart upload was begun', disk: false },
  's3.after-part': { what: 'a part was uploaded', disk: false },
  's3.after-complete': { what: 'a multipart upload was completed', disk: false },
  'sftp.after-write': { what: 'an SFTP put has written its temporary file', disk: false },
  'sftp.after-rename': { what: 'an SFTP put has given its file the final name', disk: false },
  'sftp.after-delete': { what: 'an SFTP delete was answered', disk: false },
} as const satisfies Readonly<Record<string, { readonly what: string; readonly disk: boolean }>>

/** The name of a failpoint. */
export type FailpointName = keyof typeof failpoints

/** What can be made to happen at a failpoint. */
export const failpointActions = ['die', 'throw', 'hang', 'report_failure', 'enospc', 'corrupt'] as const
/** One of these actions. */
export type FailpointAction = (typeof failpointActions)[number]

/** The actions that mean something at this place. */
export function actionsAt(name: FailpointName): readonly FailpointAction[] {
  return failpoints[name].disk ? failpointActions : ['die', 'throw', 'hang', 'report_failure']
}
