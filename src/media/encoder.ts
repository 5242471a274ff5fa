import type { EncodePlan, MediaFacts, Rendition } from '../domain/encode.ts'
import type { PackageEntry } from '../domain/package.ts'

/** Options every media call takes; each call can run for hours and must stop when told to. */
export interface MediaOptions {
  readonly signal?: AbortSignal
  /** Fraction 0..1 of the call's work; rises, never falls. */
  readonly onProgress?: (fraction: number) => void
}

/** A finished part of an encode: a slice of the picture (one file for each rung), or the whole sound. */
export interface EncodePart {
  /** Names how the whole work is cut and made: parts of different plans never go together. */
  readonly planHash: string
  readonly number: number
  readonly files: readonly { readonly rung: string; readonly path: string }[]
}

/** Where finished parts outlive the worker that made them. */
export interface PartShelf {
  /** Brings the files of a part that an earlier run finished; `false` where there is none that can be trusted. */
  fetch(part: EncodePart): Promise<boolean>
  /** Keeps a finished part. Where another run was first, its part stays. */
  keep(part: EncodePart): Promise<void>
}

/** What an encode takes besides. */
export interface EncodeOptions extends MediaOptions {
  /** Without one, a long encode that breaks off starts over. */
  readonly shelf?: PartShelf
}

/** Limits of the jail every media process runs in. */
export interface MediaLimits {
  readonly maxPixels: number
  readonly maxStreams: number
  readonly maxDurationMs: number
  /** Wall clock for one process; afterwards its process group is killed. */
  readonly maxWallMs: number
  readonly maxMemoryBytes: number
  /** Largest single output file. */
  readonly maxOutputBytes: number
}

/**
 * Everything Reelkeep asks of media software. Paths are absolute scratch paths with neutral names: a recorder's own
 * file name never gets here. Every process runs jailed (protocol, format and codec allow-lists, resource limits, no
 * network, empty working directory, wall clock).
 */
export interface Encoder {
  /**
   * Is this what its extension says, and whole? Magic bytes, then the container's own arithmetic (MP4 box sum and
   * `moov`, EBML, RIFF, ZIP end record). Costs milliseconds; never starts a process.
   * @throws empty_file, type_mismatch, truncated, zip_structure
   */
  checkStructure(path: string, extension: string): Promise<void>
  /**
   * Lists a package (`zip`, `tar.gz`, `tgz`) and reads every entry once to its end, writing nothing anywhere. Only a sound
   * archive is listed; what it is and whether it is whole is `decidePackage`'s to say.
   * @throws zip_*, archive_unsafe, truncated, type_mismatch, cancelled
   */
  readPackage(path: string, extension: string, options?: MediaOptions): Promise<readonly PackageEntry[]>
  /** @throws type_mismatch, no_streams, implausible_duration, too_many_pixels, truncated, undecodable */
  probe(path: string, options?: MediaOptions): Promise<MediaFacts>
  /**
   * Decodes every frame and throws the result away: the only test that finds preallocated, cut and flipped files.
   * Returns the duration that really decoded, in ms. @throws truncated, undecodable, encode_timeout, cancelled
   */
  decodeAll(path: string, facts: MediaFacts, options?: MediaOptions): Promise<number>
  /**
   * Makes everything the plan names below `outDir` (which is empty at the start) and checks each result: streams,
   * duration >= 98 % of the source, decodes. All or nothing, but for the parts on the shelf: an encode of a long picture goes on
   * from those. @throws encode_failed, encode_incomplete, encode_timeout,
   * scratch_full, cancelled
   */
  encode(
    path: string,
    facts: MediaFacts,
    plan: EncodePlan,
    outDir: string,
    options?: EncodeOptions,
  ): Promise<readonly Rendition[]>
}

/** Limits that let a 24-hour lecture in 4K through and stop what only claims to be one. */
export const defaultMediaLimits: MediaLimits = {
  maxPixels: 40_000_000,
  maxStreams: 64,
  maxDurationMs: 26 * 3_600_000,
  maxWallMs: 24 * 3_600_000,
  maxMemoryBytes: 3 * 1024 ** 3,
  maxOutputBytes: 256 * 1024 ** 3,
}
