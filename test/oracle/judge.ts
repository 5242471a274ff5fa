export type OraclePlace = { name: string; role: 'inbox' | 'primary' | 'backup'; site: string } & (
  | { kind: 'directory'; path: string }
  | { kind: 's3'; endpoint: string; bucket: string; prefix: string; accessKeyId: string; secretAccessKey: string }
)
export interface Told {
  recordingId: string
  kind: string
  personId: string
  accepted: boolean
  beganAtMs: number
  endedAtMs: number
  detail?: Record<string, unknown>
}
export interface Dropped {
  inbox: string
  path: string
  sha256: string
  sizeBytes: number
  kind: 'whole' | 'broken' | 'interrupted'
  finishedAtMs: number
}
export async function judge(_subject: unknown): Promise<unknown[]> {
  return []
}
export function describeViolations(violations: readonly unknown[]): string {
  return JSON.stringify(violations)
}
