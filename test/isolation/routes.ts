import type { RequestOptions } from '../api/stage.ts'
import type { Belongings } from './two-accounts.ts'

/** The ids a request is made of. */
export type Ids = Pick<
  Belongings,
  | 'recording'
  | 'deposit'
  | 'recorder'
  | 'file'
  | 'fileName'
  | 'hold'
  | 'person'
  | 'store'
  | 'inbox'
  | 'key'
  | 'path'
  | 'word'
>

/** One request made of ids. */
export interface Call {
  readonly path: string
  readonly options?: Pick<RequestOptions, 'method' | 'json' | 'headers'> & { readonly form?: Record<string, string> }
}

/** How a route is called: which ids it takes, and which of its states a recording should be in to be carried out. */
export interface RouteCase {
  readonly takes: readonly (keyof Ids)[]
  readonly state?: keyof Belongings['states']
  readonly call: (ids: Ids) => Call
}

const get = (takes: RouteCase['takes'], path: (ids: Ids) => string, headers?: Record<string, string>): RouteCase => ({
  takes,
  call: (ids) => ({ path: path(ids), options: { method: 'GET', ...(headers === undefined ? {} : { headers }) } }),
})
const post = (
  takes: RouteCase['takes'],
  path: (ids: Ids) => string,
  json: (ids: Ids) => unknown,
  state?: RouteCase['state'],
): RouteCase => ({
  takes,
  ...(state === undefined ? {} : { state }),
  call: (ids) => ({ path: path(ids), options: { method: 'POST', json: json(ids) } }),
})
const command = (
  name: string,
  body: (ids: Ids) => unknown,
  state?: RouteCase['state'],
  takes: RouteCase['takes'] = [],
) => post(['recording', ...takes], ({ recording }) => `/api/v1/recordings/${recording}/${name}`, body, state)
const form = (
  takes: RouteCase['takes'],
  path: (ids: Ids) => string,
  fields: (ids: Ids) => Record<string, string>,
  state?: RouteCase['state'],
): RouteCase => ({
  takes,
  ...(state === undefined ? {} : { state }),
  call: (ids) => ({
    path: path(ids),
    options: { method: 'POST', form: { requestId: '5f2c1e0a-9a44-4b7e-8a53-0d6f7f1f8c11', ...fields(ids) } },
  }),
})
/** Nothing in it names a thing of an account. */
const nothing = (path: string, method = 'GET'): RouteCase => ({
  takes: [],
  call: () => ({ path, options: { method } }),
})

const planHash = '0'.repeat(64)
const reason = 'x'
const api = '/api/v1'
const cursorOf = (id: string) => Buffer.from(JSON.stringify({ t: 4_000_000_000_000, id })).toString('base64url')

/** Every route of the product and its cases. A route that is not here fails the test: say which ids it takes. */
export const routeCases: Readonly<Record<string, readonly RouteCase[]>> = {
  'GET /api/v1/recordings': [
    nothing(`${api}/recordings`),
    get(['recorder'], ({ recorder }) => `${api}/recordings?recorderId=${recorder}`),
    get(['person'], ({ person }) => `${api}/recordings?ownerId=${person}`),
    get(['word'], ({ word }) => `${api}/recordings?text=${word}`),
    get(['recording'], ({ recording }) => `${api}/recordings?cursor=${cursorOf(recording)}`),
  ],
  'GET /api/v1/recordings/:id': [get(['recording'], ({ recording }) => `${api}/recordings/${recording}`)],
  'PATCH /api/v1/recordings/:id': [
    {
      takes: ['recording'],
      call: ({ recording }) => ({
        path: `${api}/recordings/${recording}`,
        options: { method: 'PATCH', json: { title: 'x' }, headers: { 'If-Match': '"1"' } },
      }),
    },
  ],
  'GET /api/v1/recordings/:id/certificate': [
    {
      ...get(['recording'], ({ recording }) => `${api}/recordings/${recording}/certificate`),
      state: 'purged',
    },
  ],
  'GET /api/v1/recordings/:id/files/:fileId': [
    get(['recording', 'file'], ({ recording, file }) => `${api}/recordings/${recording}/files/${file}`),
    get(['recording', 'file'], ({ recording, file }) => `${api}/recordings/${recording}/files/${file}`, {
      Range: 'bytes=0-3',
    }),
    get(['recording', 'file'], ({ recording, file }) => `${api}/recordings/${recording}/files/${file}`, {
      'If-None-Match': '*',
    }),
    {
      takes: ['recording', 'file'],
      call: ({ recording, file }) => ({
        path: `${api}/recordings/${recording}/files/${file}`,
        options: { method: 'HEAD' },
      }),
    },
  ],
  'GET /api/v1/recordings/:id/media/:name{[^]+}': [
    get(['recording', 'fileName'], ({ recording, fileName }) => `${api}/recordings/${recording}/media/${fileName}`),
  ],
  'POST /api/v1/recordings/:id/claim': [command('claim', () => ({}), 'unclaimed')],
  'POST /api/v1/recordings/:id/assign': [
    command('assign', ({ person }) => ({ ownerId: person }), 'unclaimed', ['person']),
  ],
  'POST /api/v1/recordings/:id/not-mine': [command('not-mine', () => ({}))],
  'POST /api/v1/recordings/:id/hold': [command('hold', () => ({ reason }))],
  'POST /api/v1/recordings/:id/release': [command('release', ({ hold }) => ({ holdId: hold }), 'retained', ['hold'])],
  'POST /api/v1/recordings/:id/extend': [command('extend', () => ({ untilMs: 4_000_000_000_000, reason }))],
  'POST /api/v1/recordings/:id/request-deletion': [command('request-deletion', () => ({ reason }))],
  'POST /api/v1/recordings/:id/approve-deletion': [command('approve-deletion', () => ({ planHash }), 'requested')],
  'POST /api/v1/recordings/:id/reject-deletion': [command('reject-deletion', () => ({ reason }), 'requested')],
  'POST /api/v1/recordings/:id/undo': [command('undo', () => ({}), 'trashed')],
  'POST /api/v1/recordings/:id/cancel-encode': [command('cancel-encode', () => ({}), 'encoding')],
  'POST /api/v1/recordings/:id/replan': [command('replan', () => ({}))],
  'POST /api/v1/recordings/:id/resolve': [
    command('resolve', () => ({ option: 'retry' })),
    post(
      ['deposit'],
      ({ deposit }) => `${api}/recordings/${deposit}/resolve`,
      () => ({ option: 'give_up' }),
    ),
  ],
  'POST /api/v1/recordings/:id/fast-forward': [command('fast-forward', () => ({ durationMs: 1 }))],
  'GET /api/v1/deposits': [
    nothing(`${api}/deposits`),
    get(['deposit'], ({ deposit }) => `${api}/deposits?cursor=${cursorOf(deposit)}`),
  ],
  'GET /api/v1/recorders': [nothing(`${api}/recorders`)],
  'POST /api/v1/recorders': [
    post(
      ['inbox', 'person'],
      () => `${api}/recorders`,
      ({ inbox, person }) => ({
        name: 'New',
        inboxId: inbox,
        directory: 'new',
        assignment: 'claim',
        managerId: person,
      }),
    ),
    post(
      ['inbox', 'person'],
      () => `${api}/recorders`,
      ({ inbox, person }) => ({
        name: 'Newer',
        inboxId: inbox,
        directory: 'newer',
        assignment: 'automatic',
        defaultOwnerId: person,
      }),
    ),
    post(
      ['store'],
      () => `${api}/recorders`,
      ({ store }) => ({
        name: 'No inbox',
        inboxId: store,
        directory: 'x',
        assignment: 'claim',
      }),
    ),
  ],
  'GET /api/v1/recorders/:id': [get(['recorder'], ({ recorder }) => `${api}/recorders/${recorder}`)],
  'PATCH /api/v1/recorders/:id': [
    {
      takes: ['recorder', 'person'],
      call: ({ recorder, person }) => ({
        path: `${api}/recorders/${recorder}`,
        options: { method: 'PATCH', json: { managerId: person } },
      }),
    },
    {
      takes: ['recorder'],
      call: ({ recorder }) => ({ path: `${api}/recorders/${recorder}`, options: { method: 'PATCH', json: {} } }),
    },
  ],
  'POST /api/v1/recordings/:id/fixity': [command('fixity', () => ({}))],
  'GET /api/v1/fixity': [nothing(`${api}/fixity`)],
  'POST /api/v1/fixity': [nothing(`${api}/fixity`, 'POST')],
  'GET /api/v1/stores': [nothing(`${api}/stores`)],
  'GET /api/v1/people': [nothing(`${api}/people`)],
  'POST /api/v1/people': [
    post(
      [],
      () => `${api}/people`,
      () => ({ name: 'Nina', email: 'nina@example.test', roles: ['viewer'] }),
    ),
  ],
  'GET /api/v1/keys': [nothing(`${api}/keys`)],
  'POST /api/v1/keys': [
    post(
      ['person'],
      () => `${api}/keys`,
      ({ person }) => ({ personId: person, label: 'x', scopes: ['read'] }),
    ),
  ],
  'POST /api/v1/keys/:id/revoke': [
    post(
      ['key'],
      ({ key }) => `${api}/keys/${key}/revoke`,
      () => ({}),
    ),
  ],

  'GET /healthz': [nothing('/healthz')],
  'GET /readyz': [nothing('/readyz')],
  'GET /metrics': [nothing('/metrics')],
  'GET /.well-known/reelkeep-keys.json': [nothing('/.well-known/reelkeep-keys.json')],
  'GET /verify.mjs': [nothing('/verify.mjs')],
  'GET /openapi.json': [nothing('/openapi.json')],
  'GET /docs': [nothing('/docs')],
  'GET /docs/start.js': [nothing('/docs/start.js')],
  'GET /docs/swagger-ui.css': [nothing('/docs/swagger-ui.css')],
  'GET /docs/swagger-ui-bundle.js': [nothing('/docs/swagger-ui-bundle.js')],
  // Whoever calls has no account: what these answer is the contract of recorders, and tested with it.
  'GET /record/recorder_notify/': [nothing('/record/recorder_notify/')],
  'GET /record/recorder_notify': [nothing('/record/recorder_notify')],
  'GET /mediacourses_notify/': [nothing('/mediacourses_notify/')],
  'GET /mediacourses_notify': [nothing('/mediacourses_notify')],
  'POST /record/recorder_notify/': [nothing('/record/recorder_notify/', 'POST')],
  'POST /record/recorder_notify': [nothing('/record/recorder_notify', 'POST')],
  'POST /mediacourses_notify/': [nothing('/mediacourses_notify/', 'POST')],
  'POST /mediacourses_notify': [nothing('/mediacourses_notify', 'POST')],

  'GET /': [
    nothing('/'),
    get(['word'], ({ word }) => `/?text=${word}`),
    get(['recorder'], ({ recorder }) => `/?recorder=${recorder}`),
    get(['recording'], ({ recording }) => `/?cursor=${cursorOf(recording)}`),
  ],
  'GET /claims': [nothing('/claims')],
  'GET /attention': [nothing('/attention')],
  'GET /deposits': [nothing('/deposits'), get(['deposit'], ({ deposit }) => `/deposits?cursor=${cursorOf(deposit)}`)],
  'GET /recorders': [nothing('/recorders')],
  'GET /recordings/:id': [
    get(['recording'], ({ recording }) => `/recordings/${recording}`),
    get(['recording'], ({ recording }) => `/recordings/${recording}?part=status`, { 'HX-Request': 'true' }),
  ],
  'POST /recordings/:id/commands': [
    form(
      ['recording'],
      ({ recording }) => `/recordings/${recording}/commands`,
      () => ({ kind: 'claim' }),
      'unclaimed',
    ),
    form(
      ['recording'],
      ({ recording }) => `/recordings/${recording}/commands`,
      () => ({ kind: 'hold', reason }),
    ),
    form(
      ['recording', 'person'],
      ({ recording }) => `/recordings/${recording}/commands`,
      ({ person }) => ({
        kind: 'assign',
        ownerId: person,
      }),
      'unclaimed',
    ),
    form(
      ['recording', 'hold'],
      ({ recording }) => `/recordings/${recording}/commands`,
      ({ hold }) => ({
        kind: 'release',
        holdId: hold,
      }),
    ),
    form(
      ['deposit'],
      ({ deposit }) => `/recordings/${deposit}/commands`,
      () => ({ kind: 'resolve', option: 'retry' }),
    ),
  ],
  'POST /recordings/:id/describe': [
    form(
      ['recording'],
      ({ recording }) => `/recordings/${recording}/describe`,
      () => ({
        was: 'x',
        title: 'x',
        description: '',
        tags: '',
      }),
    ),
  ],
  'POST /recordings/:id/fast-forward': [
    form(
      ['recording'],
      ({ recording }) => `/recordings/${recording}/fast-forward`,
      () => ({ days: '1' }),
    ),
  ],
  'POST /recorders': [
    form(
      ['inbox', 'person'],
      () => '/recorders',
      ({ inbox, person }) => ({
        name: 'Formed',
        description: '',
        inboxId: inbox,
        directory: 'formed',
        assignment: 'claim',
        managerId: person,
        defaultOwnerId: '',
      }),
    ),
  ],
  ...Object.fromEntries(
    ['/record/add_recording', '/record/add_recording/', '/mediacourses_add', '/mediacourses_add/'].map((path) => [
      `GET ${path}`,
      [
        get(['path'], (ids) => `${path}?mediapath=${encodeURIComponent(ids.path)}&course_title=x&recorder=1`),
        get(
          ['path', 'recorder'],
          (ids) => `${path}?mediapath=${encodeURIComponent(ids.path)}&recorder=${ids.recorder}`,
        ),
      ],
    ]),
  ),
  'GET /sign-in': [nothing('/sign-in')],
  'POST /sign-in': [nothing('/sign-in', 'POST')],
  'POST /sign-out': [nothing('/sign-out', 'POST')],
}
