import { Page } from './layout.tsx'

/** The form that takes an API key. The key never stands in an address. */
export function SignInPage({ next, message }: { next: string; message: string | null }) {
  return (
    <Page shell={{ title: 'Sign in', actor: null, path: '/sign-in' }}>
      <form method="post" action="/sign-in" class="box sign-in">
        <h1>Sign in</h1>
        {message === null ? null : (
          <p class="field-error" role="alert">
            {message}
          </p>
        )}
        <input type="hidden" name="next" value={next} />
        {/* Password managers file a secret under a name. */}
        <input type="text" value="Reelkeep" autocomplete="username" hidden />
        <label class="field">
          <span>API key</span>
          <input
            type="password"
            name="key"
            required
            autofocus
            autocomplete="current-password"
            spellcheck={false}
            maxlength={500}
          />
          <small>The key you were given, or the one this system printed at its first start.</small>
        </label>
        <button>Sign in</button>
      </form>
    </Page>
  )
}
