// What this page knows of the running house, kept current by the live stream.
import { computed, reactive, ref, shallowRef } from 'vue'

import * as api from './api'
import { learn, settle } from './words'

export const SEVERITIES = ['critical', 'major', 'minor', 'info'] as const
export const STATE_NAMES = { '-1': 'silent', 0: 'fine', 1: 'info', 2: 'minor', 3: 'major', 4: 'critical' } as const
/** Alerts asked for in each open list; twice as many are kept. The numbers in the head count all. */
export const OPEN_SHOWN = 500
const CLEARED_SHOWN = 200
const SOON_MS = 400 // changes of incidents are asked for together

export type Link = 'connecting' | 'live' | 'lost'
export interface Moved {
  revision: string
  rows: number[]
  lon: number[]
  lat: number[]
}
export interface StateChange {
  revision: string
  rows: number[]
  states: api.State[]
}

export const city = shallowRef<api.City | null>(null)
export const roads = shallowRef<api.Roads | null>(null)
export const assets = shallowRef<api.AssetColumns | null>(null)
export const beat = shallowRef<api.Beat | null>(null)
export const link = ref<Link>('connecting')
export const trouble = ref('')
export const tokenAsked = ref(false)
export const selected = ref<string | null>(null)
export const touched = ref(0) // grows when the selected asset may have changed
const alerts = reactive(new Map<string, api.Alert>())
const incidents = shallowRef<ReadonlyMap<string, api.Incident>>(new Map())
export const incidentTouched = ref(0) // grows when alerts of incidents may have changed

type Listeners = { states: ((c: StateChange) => void)[]; moved: ((c: Moved) => void)[] }
const listeners: Listeners = { states: [], moved: [] }
/** Follow changes of many assets at once without going through reactivity. */
export function onStates(fn: (change: StateChange) => void): void {
  listeners.states.push(fn)
}
export function onMoved(fn: (change: Moved) => void): void {
  listeners.moved.push(fn)
}

const weight = (one: { severity: api.Severity }) => SEVERITIES.indexOf(one.severity)
export const openAlerts = computed(() => [...alerts.values()].filter((each) => each.state !== 'cleared'))

/** Alerts in one state: the open ones by severity and then newest first, the cleared ones by the time they cleared. */
export function alertsIn(state: api.Alert['state']): api.Alert[] {
  const found = [...alerts.values()].filter((each) => each.state === state)
  if (state === 'cleared') return found.sort((a, b) => (b.cleared_ms ?? 0) - (a.cleared_ms ?? 0))
  return found.sort((a, b) => weight(a) - weight(b) || b.onset_ms - a.onset_ms)
}

/** Whether an incident is more than its one alert, which is then shown by itself. */
export const gathers = (incident: api.Incident | undefined): boolean => (incident?.alerts ?? 0) > 1

const ASIDE = ['shelved', 'silenced', 'out_of_service']
/** Whether somebody has put an alert aside, or silenced it: nobody is told of it now. */
export const asideOf = (alert: api.Alert): boolean => alert.flags.some((each) => ASIDE.includes(each))

/** What somebody has to do something about, or did: incidents that gather several alerts, and single alerts. */
export type Row = { incident: api.Incident; alert?: undefined } | { alert: api.Alert; incident?: undefined }
export function rowsIn(...states: api.Alert['state'][]): Row[] {
  const found: Row[] = []
  const cleared = states.includes('cleared')
  for (const incident of incidents.value.values()) {
    // In a storm the list of alerts is cut short: an alert that it leaves out is shown by its incident.
    const shown = gathers(incident) || (!cleared && !alerts.has(incident.id))
    if (shown && states.includes(incident.state) && incident.reason !== 'merged') found.push({ incident })
  }
  for (const alert of states.flatMap(alertsIn)) {
    const incident = incidents.value.get(alert.incident)
    const over = !cleared && incident?.state === 'cleared' // a latched alert outlives its incident
    if (over || !(gathers(incident) || alert.flags.includes('suppressed'))) found.push({ alert })
  }
  const of = (row: Row) => row.incident ?? row.alert
  const end = (row: Row) => (row.incident ? row.incident.closed_ms : row.alert.cleared_ms) ?? 0
  if (cleared) return found.sort((a, b) => end(b) - end(a))
  return found.sort((a, b) => weight(of(a)) - weight(of(b)) || of(b).onset_ms - of(a).onset_ms)
}

/** Severity by road name, for roads that an open alert is about. */
export const roadStates = computed(() => {
  const found = new Map<string, number>()
  for (const alert of openAlerts.value) {
    if (!alert.entity.startsWith('road:')) continue
    const name = alert.entity.slice(5)
    found.set(name, Math.max(found.get(name) ?? 0, 4 - weight(alert)))
  }
  return found
})

// The city's clock runs on between beats, faster than ours in a demo.
const clock = { at_ms: 0, here_ms: 0 }
export const speed = ref(1)
export const cityNow = ref(0)
const tick = () => {
  if (clock.at_ms) cityNow.value = clock.at_ms + (performance.now() - clock.here_ms) * speed.value
}
setInterval(tick, 1000)

function setClock(now_ms: number, rate: number): void {
  Object.assign(clock, { at_ms: now_ms, here_ms: performance.now() })
  speed.value = rate
  tick()
}

function take(changed: api.Alert[]): void {
  for (const alert of changed) {
    alerts.set(alert.id, alert)
    if (alert.asset && alert.asset === selected.value) touched.value++
  }
  if (changed.some((each) => each.incident)) incidentsSoon()
  for (const old of alertsIn('cleared').slice(CLEARED_SHOWN)) alerts.delete(old.id)
  for (const state of ['active', 'acknowledged', 'latched'] as const) {
    for (const low of alertsIn(state).slice(2 * OPEN_SHOWN)) alerts.delete(low.id)
  }
}

let soon = 0
/** Ask for the incidents anew, a moment after the first of several changes. */
function incidentsSoon(): void {
  if (soon) return
  soon = window.setTimeout(async () => {
    soon = 0
    incidents.value = await readIncidents().catch(() => incidents.value)
    incidentTouched.value++
  }, SOON_MS)
}

async function readIncidents(): Promise<Map<string, api.Incident>> {
  const lists = await Promise.all([api.getIncidents('open', OPEN_SHOWN), api.getIncidents('cleared', CLEARED_SHOWN)])
  return new Map(lists.flatMap((each) => each.incidents).map((each) => [each.id, each]))
}

async function refresh(): Promise<void> {
  const lists = await Promise.all([
    api.getAlerts('active', OPEN_SHOWN),
    api.getAlerts('acknowledged', OPEN_SHOWN),
    api.getAlerts('latched', OPEN_SHOWN),
    api.getAlerts('cleared', CLEARED_SHOWN),
  ])
  const [present, gathered] = await Promise.all([api.getMap(), readIncidents()])
  const fresh = lists.flatMap((each) => each.alerts)
  alerts.clear()
  for (const alert of fresh) alerts.set(alert.id, alert)
  incidents.value = gathered
  assets.value = present
  touched.value++
  incidentTouched.value++
}

/** Read the city once, then follow it for as long as the page is open. */
export async function begin(): Promise<void> {
  try {
    const [about, lines] = await Promise.all([api.getCity(), api.getRoads()])
    city.value = about
    roads.value = lines
    learn([...new Set([...lines.features.map((road) => road.properties.name), ...about.roads, ...about.districts, ...about.streets])])
    settle(about.language, about.timezone)
    setClock(about.now_ms, about.speed)
    trouble.value = ''
    tokenAsked.value = false
    follow()
  } catch (error) {
    if (error instanceof api.Refusal && error.status === 401) tokenAsked.value = true
    else {
      trouble.value = error instanceof Error ? error.message : String(error)
      setTimeout(begin, 3000)
    }
  }
}

function follow(): void {
  const source = new EventSource('/api/live')
  const on = <T>(event: string, act: (data: T) => void) =>
    source.addEventListener(event, (message) => act(JSON.parse((message as MessageEvent<string>).data) as T))

  // Changes that arrive while the whole is being asked for must not be overwritten by it: they are held and replayed.
  let held: (() => void)[] | null = null
  const inOrder = <T>(act: (data: T) => void) => (data: T) => (held ? held.push(() => act(data)) : act(data))
  const reread = async () => {
    if (held) return
    held = []
    try {
      await refresh()
      link.value = 'live'
    } catch (error) {
      trouble.value = error instanceof Error ? error.message : String(error)
      setTimeout(reread, 3000)
    }
    const waiting: (() => void)[] = held
    held = null
    for (const act of waiting) act()
  }

  on<{ now_ms: number; speed: number }>('hello', (data) => {
    setClock(data.now_ms, data.speed)
    trouble.value = ''
    void reread()
  })
  on<{ alerts: api.Alert[] }>('alerts', inOrder((data) => take(data.alerts)))
  on<StateChange>('states', inOrder(takeStates))
  on<Moved>('moved', inOrder((change) => listeners.moved.forEach((fn) => fn(change))))
  on<unknown>('registry', () => void Promise.all([api.getCity(), api.getRoads()]).then(([about, lines]) => {
    city.value = about
    roads.value = lines
    return reread()
  }))
  on<api.Beat>('beat', (data) => {
    beat.value = data
    setClock(data.now_ms, data.speed)
  })
  source.onerror = () => {
    link.value = 'lost'
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 3000) // refused, not merely cut: the browser gives up
  }
}

function takeStates(change: StateChange): void {
  const columns = assets.value
  if (!columns || change.revision !== columns.revision) return
  change.rows.forEach((row, at) => {
    columns.state[row] = change.states[at] ?? 0
    if (columns.id[row] === selected.value) touched.value++
  })
  for (const fn of listeners.states) fn(change)
}

/** Tell the house that somebody takes this alert on. */
export async function acknowledge(alert: api.Alert, who: string, note: string): Promise<void> {
  take([await api.acknowledge(alert.id, who, note)])
}

/** An alert that this page knows, by its id. */
export const alertOf = (id: string): api.Alert | undefined => alerts.get(id)

/** Show an alert as the house has just answered. */
export const takeAlert = (alert: api.Alert): void => take([alert])

/** Tell the house that somebody takes this incident on, with all its alerts that nobody has. */
export async function acknowledgeIncident(incident: api.Incident, who: string, note: string): Promise<void> {
  await api.acknowledgeIncident(incident.id, who, note)
  incidentsSoon()
}
