import { planEncode } from '../../domain/encode.ts'
import type { FileView, RecordingDetail, RecordingState } from '../../domain/recording.ts'
import { mediaUrl, posterUrl } from './links.ts'

/** True from the trash on: what was approved for deletion is not shown any more. */
export function isGone(state: RecordingState): boolean {
  return state === 'trashed' || state === 'purging' || state === 'purged'
}

/** What a browser gets to play, best first. */
export function playableSources(
  recording: RecordingDetail,
): readonly { readonly url: string; readonly type: string }[] {
  if (isGone(recording.state)) return []
  const byHeight = (a: FileView, b: FileView) => (b.heightPx ?? 0) - (a.heightPx ?? 0)
  const videos = recording.files
    .filter((file) => file.kind === 'video' && file.contentType === 'video/mp4')
    .sort(byHeight)
  const master = recording.files.filter((file) => file.kind === 'hls' && file.name.endsWith('master.m3u8'))
  const audio = recording.files.filter((file) => file.kind === 'audio')
  const files = videos.length > 0 ? [...videos.slice(0, 1), ...master] : audio
  if (files.length === 0) return originalSource(recording)
  return files.map((file) => ({ url: mediaUrl(recording.id, file.name), type: file.contentType }))
}

/** Before anything was made from it, the original itself, where browsers play it as it is. */
function originalSource(recording: RecordingDetail): readonly { readonly url: string; readonly type: string }[] {
  const { media } = recording
  const original = recording.files.find((file) => file.kind === 'original')
  const plays = media.video !== null && planEncode(media).kind === 'remux' && media.container.includes('mp4')
  if (original === undefined || !plays) return []
  return [{ url: mediaUrl(recording.id, original.name), type: 'video/mp4' }]
}

/** The recording, to watch or to listen to; or a sentence that says why not. */
export function Player({ recording }: { recording: RecordingDetail }) {
  const sources = playableSources(recording)
  if (sources.length === 0) return <p class="empty">{whyNotPlayable(recording)}</p>
  const isSound = sources.every((source) => source.type.startsWith('audio/'))
  const children = sources.map((source) => <source src={source.url} type={source.type} />)
  if (isSound)
    return (
      <audio controls preload="metadata" aria-label={`Sound of ${recording.title}`}>
        {children}
      </audio>
    )
  return (
    <video
      controls
      playsinline
      preload="metadata"
      poster={recording.hasPoster ? posterUrl(recording.id) : undefined}
      aria-label={`Video of ${recording.title}`}
    >
      {children}
    </video>
  )
}

function whyNotPlayable(recording: RecordingDetail): string {
  if (recording.state === 'purged') return 'Every copy was deleted; the certificate says when and why.'
  if (recording.state === 'trashed') return 'It is in the trash: nothing is shown until the deletion is undone.'
  if (recording.state === 'purging') return 'The copies are being deleted.'
  return 'Browsers cannot play the original; a playable version appears here when it is encoded.'
}
