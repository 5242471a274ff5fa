/**
 * How long a worker may be silent before its work is given to another one. Apart from the options that use them, because
 * tests of crashes bundle the workflows with shorter ones: waiting half a minute for each of a thousand deaths proves no more.
 */
export const timeouts = { rows: '30 seconds', beat: '30 seconds', lookBeat: '15 seconds' } as const
