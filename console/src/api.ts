// The API's answers as types (api/schemas.py; a test holds the two together), and the few ways to ask.

export type Severity = 'critical' | 'major' | 'minor' | 'info'
export type State = -1 | 0 | 1 | 2 | 3 | 4
export type Language = 'zh' | 'en'

export interface Words {
  en: string
  zh: string
}

export interface Field {
  name: string
  unit: string
  type: 'float' | 'int' | 'bool' | 'code'
  low: number
  high: number
  name_en: string
  name_zh: string
  roles: string[]
  codes: Record<string, string>
}

export interface Kind {
  name: string
  name_en: string
  name_zh: string
  roles: string[]
  report_s: number[]
  fields: Field[]
  facts: Field[]
  assets: number
}

export interface Rule {
  id: string
  device: string
  severity: Severity
  kind: string
  title: Words
}

export interface City {
  id: string
  name: Words
  timezone: string
  language: Language
  centre: [number, number] | null
  bounds: [number, number, number, number] | null
  now_ms: number
  speed: number
  version: string
  revision: string
  districts: string[]
  streets: string[]
  roads: string[]
  kinds: Kind[]
  rules: Rule[]
}

export interface AssetColumns {
  revision: string
  kinds: string[]
  id: string[]
  kind: number[]
  role: number[]
  lon: (number | null)[]
  lat: (number | null)[]
  state: State[]
}

export interface Asset {
  row: number
  id: string
  kind: string
  role: string
  name: string
  lon: number | null
  lat: number | null
  state: State
  district: string
  street: string
  road: string
  cabinet: string
  circuit: string
  pole_index: number | null
  grid: string
  owner: string
  keeper: string
}

export interface Alert {
  id: string
  rule: string
  entity: string
  asset: string | null
  place: string
  kind: string
  severity: Severity
  state: 'active' | 'acknowledged' | 'latched' | 'cleared'
  message: Words
  onset_ms: number
  active_ms: number | null
  cleared_ms: number | null
  reason: string
  values: Record<string, number | null>
  lon: number | null
  lat: number | null
  district: string
  acknowledged: { who: string; note: string; at_ms: number | null } | null
  flags: string[]
  shelved: { until_ms: number; who: string; why: string } | null
  incident: string
  suppressed_by: string
}

export interface Incident {
  id: string
  cause: string
  node: string
  place: string
  kind: string
  district: string
  keeper: string
  severity: Severity
  state: 'active' | 'acknowledged' | 'cleared'
  message: Words
  onset_ms: number
  opened_ms: number
  told_ms: number | null
  closed_ms: number | null
  reason: string
  alerts: number
  suppressed: number
  devices: number
  notices: number
  lon: number | null
  lat: number | null
  acknowledged: { who: string; note: string; at_ms: number | null } | null
}

export interface IncidentDetail extends Incident {
  members: Alert[]
}

export interface Quiet {
  id: number
  sort: 'silence' | 'maintenance'
  matchers: Record<string, string>
  from_ms: number
  until_ms: number
  who: string
  why: string
  holds: boolean
  ended_by: string
}

export interface Preview {
  matches: number
  alerts: Alert[]
}

export interface Duty {
  team: string
  on_duty: string[]
  fallback: string
  gaps: [number, number][]
}

export interface Profile {
  name: string
  on: boolean
  days: string
  warning: string
}

export interface Profiles {
  warning: string
  profiles: Profile[]
}

export interface Desk {
  receiver: string
  notices: number
  alarms: number
  last_10_min: number
  per_hour: number
  peak_10_min: number
  budget_share: number
  flood_share: number
  in_flood: boolean
}

export interface Actor {
  rule: string
  entity: string
  number: number
}

export interface Budget {
  from_ms: number
  until_ms: number
  desks: Desk[]
  worst: Actor[]
  worst_share: number
  severities: Record<string, number>
  chattering: Actor[]
  standing: number
  stale: number
}

export interface AssetDetail extends Asset {
  facts: Record<string, number | null>
  time_ms: number | null
  seen_ms: number | null
  age_ms: number | null
  values: { field: string; value: number | null }[]
  alerts: Alert[]
}

export interface History {
  id: string
  kind: string
  from_ms: number
  until_ms: number
  time_ms: number[]
  values: Record<string, (number | null)[]>
}

export interface LedgerRow {
  kind: string
  received: number
  stored: number
  quarantined: number
  duplicate: number
  pending: number
  replayed: number
  balanced: boolean
}

export interface Ledger {
  kinds: LedgerRow[]
  total: LedgerRow
  balanced: boolean
}

export interface LightingRate {
  scope: 'road' | 'cabinet' | 'grid'
  name: string
  district: string
  rate: number | null
  rate_low: number | null
  rate_high: number | null
  coverage: number | null
  lit: number
  known: number
  expected: number
  time_ms: number
}

export interface Beat {
  now_ms: number
  speed: number
  ledger: Ledger
  open: Record<Severity, number>
  pending: number
}

export interface Roads {
  type: 'FeatureCollection'
  features: {
    type: 'Feature'
    id: number
    properties: { name: string; rank: string }
    geometry: { type: 'LineString'; coordinates: [number, number][] }
  }[]
}

export interface QuarantineRow {
  id: number
  arrival_ms: number
  reason: string
  detail: string
  topic: string
  kind: string
  device: string
  bytes: number
  attempts: number
  asked_ms: number | null
  replayable: boolean
}

export interface QuarantineDetail extends QuarantineRow {
  payload_text: string | null
  payload_base64: string
  form: 'json' | 'text' | 'binary'
  shown: string
}

export interface Quarantine {
  counts: Record<string, number>
  let_go: Record<string, number>
  purged: Record<string, number>
  replayed: number
  matching: number
  messages: QuarantineRow[]
  next_before: number | null
}

/** Which quarantined messages: all conditions that are given hold. */
export interface Choice {
  reason?: string | null
  device?: string | null
  kind?: string | null
  topic?: string | null
  since_ms?: number | null
  until_ms?: number | null
  numbers?: number[] | null
}

/** An answer other than 2xx, with the sentence that the API gave. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail)
  }
}

async function ask<T>(path: string, init?: RequestInit): Promise<T> {
  const answer = await fetch(path, { ...init, headers: { Accept: 'application/json', ...init?.headers } })
  if (!answer.ok) {
    const told = (await answer.json().catch(() => null)) as { detail?: string } | null
    throw new Refusal(answer.status, told?.detail ?? `HTTP ${answer.status}`)
  }
  return (answer.status === 204 ? undefined : await answer.json()) as T
}

function send<T>(path: string, body: unknown): Promise<T> {
  const headers = { 'Content-Type': 'application/json' }
  return ask<T>(path, { method: 'POST', headers, body: JSON.stringify(body) })
}

const id = encodeURIComponent

export const getCity = () => ask<City>('/api/city')
export const getRoads = () => ask<Roads>('/api/roads')
export const getMap = () => ask<AssetColumns>('/api/map')
export const getLighting = () => ask<LightingRate[]>('/api/lighting?scope=cabinet')
export const getAsset = (device: string) => ask<AssetDetail>(`/api/assets/${id(device)}`)
export const findAssets = (part: string) => ask<{ assets: Asset[] }>(`/api/assets?limit=8&find=${id(part)}`)
export const getAlerts = (state: Alert['state'], limit: number) =>
  ask<{ alerts: Alert[] }>(`/api/alerts?state=${state}&limit=${limit}`)
export const getIncidents = (state: 'open' | 'cleared', limit: number) =>
  ask<{ incidents: Incident[] }>(`/api/incidents?state=${state}&limit=${limit}`)
export const getIncident = (incident: string) => ask<IncidentDetail>(`/api/incidents/${id(incident)}`)
export const acknowledgeIncident = (incident: string, who: string, note: string) =>
  send<Incident>(`/api/incidents/${id(incident)}/acknowledge`, { who, note })
export const shelve = (alert: string, who: string, why: string, until_ms: number) =>
  send<Alert>(`/api/alerts/${id(alert)}/shelve`, { who, why, until_ms })
export const unshelve = (alert: string, who: string) => send<Alert>(`/api/alerts/${id(alert)}/unshelve`, { who })
export const resetAlert = (alert: string, who: string, why: string) =>
  send<Alert>(`/api/alerts/${id(alert)}/reset`, { who, why })
export const getQuiets = () => ask<Quiet[]>('/api/quiets')
export const previewQuiet = (matchers: Quiet['matchers']) => send<Preview>('/api/quiets/preview', matchers)
export const addQuiet = (wish: Pick<Quiet, 'sort' | 'matchers' | 'until_ms' | 'who' | 'why'> & { from_ms: number | null }) =>
  send<Quiet>('/api/quiets', wish)
export const endQuiet = (quiet: Quiet, who: string) => send<Quiet>(`/api/quiets/${quiet.id}/end?sort=${quiet.sort}`, { who })
export const getDuty = () => ask<Duty[]>('/api/duty')
export const getProfiles = () => ask<Profiles>('/api/profiles')
export const setWarning = (level: string, who: string) => send<Profiles>('/api/warning', { level, who })
export const getBudget = (hours: number) => ask<Budget>(`/api/budget?hours=${hours}`)
export const getHistory = (device: string, field: string, from: number, until: number) =>
  ask<History>(`/api/assets/${id(device)}/history?fields=${id(field)}&from=${from}&until=${until}&points=800`)
export const acknowledge = (alert: string, who: string, note: string) =>
  send<Alert>(`/api/alerts/${id(alert)}/acknowledge`, { who, note })
export function getQuarantine(choice: Choice, limit: number, before: number | null): Promise<Quarantine> {
  const { reason, device, kind, topic, since_ms: since, until_ms: until } = choice
  const given = Object.entries({ reason, device, kind, topic, since, until, limit, before })
  const asked = given.flatMap(([name, value]) => (value == null ? [] : [[name, String(value)]]))
  return ask<Quarantine>(`/api/quarantine?${new URLSearchParams(asked)}`)
}
export const getQuarantined = (number: number) => ask<QuarantineDetail>(`/api/quarantine/${number}`)
export const replayQuarantine = (wish: Choice & { who: string }) => send<{ asked: number }>('/api/quarantine/replay', wish)
export const purgeQuarantine = (wish: Choice & { who: string; expected: number }) =>
  send<{ purged: number }>('/api/quarantine/purge', wish)
export const openSession = (token: string) => send<undefined>('/api/session', { token })
