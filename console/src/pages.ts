// What covers the map, each with an address of its own: #quarantine, #quiets, #budget.
export const PAGES = ['quarantine', 'quiets', 'budget'] as const
export type Page = (typeof PAGES)[number]
