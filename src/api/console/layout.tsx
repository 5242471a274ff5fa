import { raw } from 'hono/html'
import type { Child } from 'hono/jsx'
import type { Actor } from '../../domain/permissions.ts'
import { doneLabels } from '../../domain/wording.ts'

/** What every page shares. */
export interface Shell {
  readonly title: string
  /** `null` on the sign-in page. */
  readonly actor: Actor | null
  /** Path of the current section, for the navigation. */
  readonly path: string
  /** The last command that was carried out (`?done=`); unknown values show nothing. */
  readonly done?: string | undefined
}

const sections = [
  { path: '/', text: 'Recordings' },
  { path: '/claims', text: 'To claim' },
  { path: '/attention', text: 'Attention' },
  { path: '/deposits', text: 'Deposits' },
  { path: '/recorders', text: 'Recorders' },
] as const

const htmxConfig = JSON.stringify({ includeIndicatorStyles: false, allowEval: false })

/** A whole page: landmarks, navigation, notice, main part. No script or style stands in the page itself. */
export function Page({ shell, children }: { shell: Shell; children: Child }) {
  const done = new Map<string, string>(Object.entries(doneLabels)).get(shell.done ?? '')
  return (
    <>
      {raw('<!doctype html>')}
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <meta name="color-scheme" content="light dark" />
          <meta name="htmx-config" content={htmxConfig} />
          <title>{`${shell.title} · Reelkeep`}</title>
          <link rel="icon" href="/assets/icon.svg" type="image/svg+xml" />
          <link rel="stylesheet" href="/assets/style.css" />
          <script src="/assets/htmx.min.js" defer></script>
        </head>
        <body>
          <a class="skip" href="#main">
            Skip to the content
          </a>
          <Header shell={shell} />
          <main id="main">
            {done === undefined ? null : (
              <p class="notice" role="status">
                {done}
              </p>
            )}
            {children}
          </main>
        </body>
      </html>
    </>
  )
}

function Header({ shell }: { shell: Shell }) {
  return (
    <header class="top">
      <a class="brand" href="/">
        Reelkeep
      </a>
      {shell.actor === null ? null : (
        <>
          <nav aria-label="Sections">
            {sections.map((section) => (
              <a href={section.path} aria-current={section.path === shell.path ? 'page' : undefined}>
                {section.text}
              </a>
            ))}
          </nav>
          <form method="post" action="/sign-out" class="who">
            <span title={shell.actor.roles.join(', ')}>{shell.actor.name}</span>
            <button class="quiet">Sign out</button>
          </form>
        </>
      )}
    </header>
  )
}

/** Asks the browser for the same page once more, this time from this site. Works without JavaScript. */
export function Bounce({ to }: { to: string }) {
  return (
    <>
      {raw('<!doctype html>')}
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta http-equiv="refresh" content={`0;url=${to}`} />
          <title>Reelkeep</title>
        </head>
        <body>
          <p>
            <a href={to}>Continue</a>
          </p>
        </body>
      </html>
    </>
  )
}

/** A page that says what went wrong and what to do next; never a stack. */
export function ErrorPage(props: { shell: Shell; heading: string; message: string; code: string; back: string }) {
  return (
    <Page shell={props.shell}>
      <h1>{props.heading}</h1>
      <div class="box tone-bad" role="alert">
        <p>{props.message}</p>
        <p class="muted">
          <code>{props.code}</code>
        </p>
      </div>
      <p>
        <a class="button" href={props.back}>
          Go back
        </a>
      </p>
    </Page>
  )
}
