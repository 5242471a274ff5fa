const contentTypes: Readonly<Record<string, string>> = {
  '3gp': 'video/3gpp',
  '3g2': 'video/3gpp2',
  aac: 'audio/aac',
  avi: 'video/x-msvideo',
  flac: 'audio/flac',
  flv: 'video/x-flv',
  m4a: 'audio/mp4',
  m4v: 'video/mp4',
  mka: 'audio/x-matroska',
  mkv: 'video/x-matroska',
  mov: 'video/quicktime',
  mp3: 'audio/mpeg',
  mp4: 'video/mp4',
  wav: 'audio/wav',
  webm: 'video/webm',
}

/** The MIME type of a media file by its extension. */
export function contentTypeOf(extension: string): string {
  return contentTypes[extension] ?? 'application/octet-stream'
}
