/** One mail, in text and HTML, to one person. */
export interface Mail {
  readonly to: { readonly name: string; readonly email: string }
  readonly subject: string
  readonly text: string
  readonly html: string
  /** Derived from the occasion: a mail that was sent twice carries the same id and is shown once by mail programs. */
  readonly messageId: string
}

/** Hands mail over to whoever delivers it. */
export interface Notifier {
  /** @throws mail_unavailable (try again later), mail_rejected (this address never works) */
  send(mail: Mail): Promise<void>
  close(): Promise<void>
}
