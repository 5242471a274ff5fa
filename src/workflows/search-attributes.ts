import { defineSearchAttributeKey } from '@temporalio/common'

/**
 * What operators filter recordings by in the Temporal UI; set at stage changes only. A SQL store allows ten keywords and
 * three of each other type.
 */
export const productSearchAttributes = {
  Stage: 'Keyword',
  Account: 'Keyword',
  Recorder: 'Keyword',
  Problem: 'Keyword',
  DeleteAt: 'Datetime',
  StartedAt: 'Datetime',
  Bytes: 'Int',
  OnHold: 'Bool',
} as const

/** The same attributes as typed keys. */
export const attributeKeys = {
  stage: defineSearchAttributeKey('Stage', 'KEYWORD'),
  account: defineSearchAttributeKey('Account', 'KEYWORD'),
  recorder: defineSearchAttributeKey('Recorder', 'KEYWORD'),
  problem: defineSearchAttributeKey('Problem', 'KEYWORD'),
  deleteAt: defineSearchAttributeKey('DeleteAt', 'DATETIME'),
  startedAt: defineSearchAttributeKey('StartedAt', 'DATETIME'),
  bytes: defineSearchAttributeKey('Bytes', 'INT'),
  onHold: defineSearchAttributeKey('OnHold', 'BOOL'),
}
