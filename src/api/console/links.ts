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

/** The page to come back to: only paths of this site, and never the sign-in page itself. Read the way browsers read it. */
export function safeReturn(path: string | undefined): string {
  const site = 'http://reelkeep.invalid'
  if (path === undefined || !URL.canParse(path, site)) return '/'
  const url = new URL(path, site)
  // "/.//elsewhere" is of this site, but its path alone would be another one.
  const elsewhere = url.origin !== site || url.pathname.startsWith('//')
  return elsewhere || /^\/sign-(in|out)\b/.test(url.pathname) ? '/' : `${url.pathname}${url.search}${url.hash}`
}
