/** Where one recording is shown. */
export function recordingUrl(id: string): string {
  return `/recordings/${encodeURIComponent(id)}`
}

/** Where commands for one recording are sent. */
export function commandUrl(id: string): string {
  return `${recordingUrl(id)}/commands`
}

/** The bytes of one file of a recording; answers range requests. */
export function mediaUrl(recordingId: string, fileName: string): string {
  const name = fileName.split('/').map(encodeURIComponent).join('/')
  return `/api/v1/recordings/${encodeURIComponent(recordingId)}/media/${name}`
}

/** The bytes of one file by its id: what a download link uses. */
export function fileUrl(recordingId: string, fileId: string): string {
  return `/api/v1/recordings/${encodeURIComponent(recordingId)}/files/${encodeURIComponent(fileId)}`
}

/** The poster of a recording. */
export function posterUrl(recordingId: string): string {
  return mediaUrl(recordingId, 'poster.jpg')
}

/** The deletion certificate of a purged recording. */
export function certificateUrl(recordingId: string): string {
  return `/api/v1/recordings/${encodeURIComponent(recordingId)}/certificate`
}

/** The page to come back to: only paths of this site, and never the sign-in page itself. */
export function safeReturn(path: string | undefined): string {
  if (path === undefined || !/^\/(?![/\\])[^\\\s]*$/.test(path) || /^\/sign-(in|out)\b/.test(path)) return '/'
  // A browser drops tabs and newlines while it reads an address; what is left must still be on this site.
  const base = 'http://reelkeep.invalid'
  if (!URL.canParse(path, base)) return '/'
  const url = new URL(path, base)
  return url.origin === base && !url.pathname.startsWith('//') ? `${url.pathname}${url.search}${url.hash}` : '/'
}
