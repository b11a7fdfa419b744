// Every word of the page in both languages, and how numbers and times are shown.
import { computed, ref, watchEffect } from 'vue'

import type { Field, Kind, Language, Rule } from './api'
import { phrases } from './phrases'

const words = {
  zh: {
    ...phrases.zh,
    brand: '点灯人', clock: '城市时间', find: '查找设施编号或名称', none_found: '没有匹配的设施',
    critical: '紧急', major: '重要', minor: '一般', info: '提示', fine: '正常', silent: '无信号',
    active: '未确认', acknowledged: '已确认', cleared: '已解除', pending: '待定条件', alerts: '告警',
    quiet: '一切正常', quiet_note: '没有未确认的告警。', none: '没有记录', none_note: '这里还没有告警。',
    ack: '确认', who: '确认人', note: '备注(可不填)', confirm: '确认接手', cancel: '取消', since: '始于',
    ack_at: '确认于', reason_recovered: '已恢复', reason_data_lost: '数据中断', reason_rule_changed: '规则变更',
    ledger: '台账', received: '接收', stored: '入库', quarantined: '隔离', duplicate: '重复', waiting: '待入库',
    balanced: '平衡', unbalanced: '不平衡', live: '实时', connecting: '连接中', lost: '连接中断',
    lost_note: '连接中断,正在重新连接。所示为中断前的状态。', legend: '图例', place: '位置', facts: '台账参数', last: '最新读数', never: '从未上报',
    heard: '最近上报', history: '历史曲线', no_history: '该时段没有读数', hours6: '6 小时', hours24: '24 小时', days7: '7 天', close: '关闭',
    no_assets: '台账中还没有设施', no_assets_note: '用 lamplighter devices import 导入设施后,地图会显示它们。', empty_value: '—',
    yes: '是', no: '否', map: '城市设施地图', whole: '全城', district: '区', street: '街道', road: '道路', cabinet: '箱/站', circuit: '回路',
    grid: '网格', owner: '权属', keeper: '养护', position: '坐标', token: '访问令牌', token_note: '本系统要求访问令牌。', enter: '进入',
    more: '条更早的告警未显示', kind_all: '全部设施', district_all: '全部区域', on_map: '在地图上查看',
    open_alerts: '未解除告警', lighting: '亮灯率', quarantine: '隔离区', quarantine_note: '无法读取的报文,原样保存,等待查看。', quarantine_empty: '隔离区是空的',
    quarantine_empty_note: '所有报文都能读取。', no_match: '没有符合条件的报文', reason_all: '全部', replayed: '已重新读取', purged: '已清除', let_go: '因满而弃',
    matching: '符合条件', replay: '重新读取', replay_these: '全部重新读取', replay_sure: '重新读取?', replay_asked: '已提交重新读取:', purge: '清除', purge_these: '全部清除',
    purge_sure: '永久清除?', messages_matching: '符合条件的报文:', messages_all: '全部报文:', message: '报文', your_name: '您的姓名', number: '编号', arrived: '到达',
    reason: '原因', device: '设备', topic: '主题', detail: '说明', bytes: '字节', attempts: '重读次数', waits: '等待重读', payload: '内容', download: '下载原文', newest: '最新', older: '更早',
    not_replayable: '此条来自数据库的拒收,不能重新读取。', span_all: '全部时间', span_hour: '最近 1 小时', span_day: '最近 24 小时', span_week: '最近 7 天', loading: '正在读取城市数据…', map_short: '地图', light: '浅色', dark: '深色', no_webgl: '此浏览器无法显示地图(需要 WebGL);列表和面板照常可用。',
  },
  en: {
    ...phrases.en,
    brand: 'Lamplighter', clock: 'City time', find: 'Find an asset by id or name', none_found: 'No asset matches',
    critical: 'Critical', major: 'Major', minor: 'Minor', info: 'Info', fine: 'Fine', silent: 'Silent',
    active: 'Active', acknowledged: 'Acknowledged', cleared: 'Cleared', pending: 'Pending', alerts: 'Alerts',
    quiet: 'All quiet', quiet_note: 'No alert waits for you.', none: 'Nothing here', none_note: 'No alerts in this list yet.',
    ack: 'Acknowledge', who: 'Your name', note: 'Note (optional)', confirm: 'Take it on', cancel: 'Cancel', since: 'since',
    ack_at: 'acknowledged', reason_recovered: 'recovered', reason_data_lost: 'data lost', reason_rule_changed: 'rule changed',
    ledger: 'Ledger', received: 'received', stored: 'stored', quarantined: 'quarantined', duplicate: 'duplicate', waiting: 'pending',
    balanced: 'balances', unbalanced: 'does not balance', live: 'Live', connecting: 'Connecting', lost: 'Connection lost',
    lost_note: 'Connection lost, trying again. You see how things stood before.', legend: 'Legend', place: 'Place', facts: 'Facts', last: 'Latest values', never: 'Never heard',
    heard: 'Heard', history: 'History', no_history: 'No readings in this span', hours6: '6 hours', hours24: '24 hours', days7: '7 days', close: 'Close',
    no_assets: 'The registry is empty', no_assets_note: 'Import assets with lamplighter devices import and they appear here.', empty_value: '—',
    yes: 'yes', no: 'no', map: 'Map of the city’s assets', whole: 'Whole city', district: 'District', street: 'Street', road: 'Road', cabinet: 'Cabinet', circuit: 'Circuit',
    grid: 'Grid cell', owner: 'Owner', keeper: 'Keeper', position: 'Position', token: 'Token', token_note: 'This house asks for a token.', enter: 'Enter',
    more: 'older alerts not shown', kind_all: 'All kinds', district_all: 'All districts', on_map: 'Show on map',
    open_alerts: 'Open alerts', lighting: 'Lamps lit', quarantine: 'Quarantine', quarantine_note: 'Messages that could not be read, kept whole until somebody looks.', quarantine_empty: 'The quarantine is empty',
    quarantine_empty_note: 'Every message could be read.', no_match: 'No message matches', reason_all: 'All', replayed: 'read after all', purged: 'purged', let_go: 'let go as too many',
    matching: 'Matching', replay: 'Read again', replay_these: 'Read all again', replay_sure: 'Read again?', replay_asked: 'To be read again:', purge: 'Purge', purge_these: 'Purge all',
    purge_sure: 'Delete for good?', messages_matching: 'Matching messages:', messages_all: 'All messages:', message: 'Message', your_name: 'Your name', number: 'No.', arrived: 'Arrived',
    reason: 'Reason', device: 'Device', topic: 'Topic', detail: 'Detail', bytes: 'bytes', attempts: 'Read again in vain', waits: 'waits', payload: 'Payload', download: 'download', newest: 'Newest', older: 'Older',
    not_replayable: 'The database refused this one; it cannot be read again.', span_all: 'Any time', span_hour: 'Last hour', span_day: 'Last 24 hours', span_week: 'Last 7 days', loading: 'Reading the city…', map_short: 'Map', light: 'Light', dark: 'Dark', no_webgl: 'This browser cannot draw the map (it needs WebGL); lists and panels still work.',
  },
} as const

export type Word = keyof (typeof words)['zh']

const remembered = localStorage.getItem('lamplighter.language')
const preferred: Language = navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en'
const chosen = ref<Language | null>(remembered === 'zh' || remembered === 'en' ? remembered : null)
const houses = ref<Language | null>(null)

/** What the person chose, else what the house opens in, else what the browser prefers. */
export const language = computed<Language>(() => chosen.value ?? houses.value ?? preferred)
export const timezone = ref('UTC')

export function choose(next: Language): void {
  chosen.value = next
  localStorage.setItem('lamplighter.language', next)
}

export function settle(house: Language, zone: string): void {
  houses.value = house
  timezone.value = zone
}

watchEffect(() => {
  document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en'
})

export const say = (word: Word): string => words[language.value][word]
export const named = (thing: { name_en: string; name_zh: string }): string =>
  language.value === 'zh' ? thing.name_zh : thing.name_en
const locale = () => (language.value === 'zh' ? 'zh-CN' : 'en-GB')

// Names may be written in both languages side by side: "滨河路三段 Binhe Road Section 3", "配电箱 Cabinet 1".
const CJK = /[\u3400-\u9fff]/
const PAIR = /([^ ]*[\u3400-\u9fff][^ ]*(?: [^ ]*[\u3400-\u9fff][^ ]*)*) ((?=[^\u3400-\u9fff]*[A-Za-z])[^ \u3400-\u9fff]+(?: [^ \u3400-\u9fff]+)*)/g
const known = ref<string[]>([])

/** The name in the chosen language where it is written in both; a number that only the Latin half has is kept. */
export function half(name: string, of: Language = language.value): string {
  return name.replace(PAIR, (_, zh: string, latin: string) => {
    if (of === 'en') return latin
    return zh + (/[\d一二三四五六七八九十]/.test(zh) ? '' : (/ \d+$/.exec(latin)?.[0] ?? ''))
  })
}

const shorten = (text: string) => known.value.reduce((told, name) => told.replaceAll(name, half(name)), text)
/** A name in the chosen language; it may begin with a known one ("滨河路三段 Binhe Road Section 3 101"). */
export const localName = (name: string): string => half(shorten(name))
/** Text in which every known name, and `more` names, stands in the chosen language only. */
export const local = (text: string, ...more: string[]): string =>
  shorten(more.reduce((told, name) => (name ? told.replaceAll(name, localName(name)) : told), text))

/** Learn the names of roads and districts that are written in both; the longest first, for some begin with others. */
export function learn(names: string[]): void {
  known.value = names.filter((name) => CJK.test(name) && /[A-Za-z]/.test(name)).sort((a, b) => b.length - a.length)
}

export const count = (value: number): string => new Intl.NumberFormat(locale()).format(value)

export function when(ms: number, seconds = true): string {
  const clock: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit', ...(seconds && { second: '2-digit' }) }
  return new Intl.DateTimeFormat(locale(), { timeZone: timezone.value, hourCycle: 'h23', ...clock }).format(ms)
}

export function day(ms: number): string {
  const parts = { month: 'short', day: 'numeric', weekday: 'short' } as const
  return new Intl.DateTimeFormat(locale(), { timeZone: timezone.value, ...parts }).format(ms)
}

export function moment(ms: number): string {
  const parts = { month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit' } as const
  return new Intl.DateTimeFormat(locale(), { timeZone: timezone.value, hourCycle: 'h23', ...parts }).format(ms)
}

/** Epoch milliseconds of a date and time of the city's clock, as an input gives it (2026-06-16T04:00). */
export function fromLocal(text: string): number {
  const plain = Date.parse(`${text}Z`)
  const parts = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit' } as const
  const wall = (ms: number) => {
    const found = Object.fromEntries(new Intl.DateTimeFormat('en', { timeZone: timezone.value, hourCycle: 'h23', ...parts }).formatToParts(ms).map((each) => [each.type, each.value]))
    return Date.parse(`${found['year']}-${found['month']}-${found['day']}T${found['hour']}:${found['minute']}:${found['second']}Z`)
  }
  const guess = plain - (wall(plain) - plain)
  return guess - (wall(guess) - plain) // once more where the clocks change in between
}

export function ago(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000))
  const [amount, unit] =
    s < 90 ? [s, 'second'] : s < 5400 ? [s / 60, 'minute'] : s < 129600 ? [s / 3600, 'hour'] : [s / 86400, 'day']
  return new Intl.RelativeTimeFormat(locale(), { style: 'short' }).format(
    -Math.round(amount as number),
    unit as Intl.RelativeTimeFormatUnit,
  )
}

export function shown(field: Field, value: number | null | undefined): string {
  if (value === null || value === undefined) return say('empty_value')
  if (field.type === 'bool') return value ? say('yes') : say('no')
  if (field.type === 'code') return field.codes[String(value)] ?? String(value)
  const digits = Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 100 ? 1 : field.unit === '°' && Math.abs(field.high) >= 90 && field.name.includes('_deg') && /lon|lat/.test(field.name) ? 5 : 2
  const text = new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value)
  return field.unit ? `${text} ${field.unit}` : text
}

const roles: Record<string, string> = {
  lamp: '单灯', cabinet: '控制箱', cover: '井盖', station: '泵站', well: '集水池', pump: '水泵', truck: '车辆',
}
const reasons: Record<string, [string, string]> = {
  topic: ['主题不符', 'wrong topic'], kind: ['未知类别', 'unknown kind'], unknown_device: ['未知设备', 'unknown device'],
  too_large: ['过大', 'too large'], unreadable: ['无法解析', 'unreadable'], wrong_form: ['格式不符', 'wrong form'],
  clock: ['时间不合理', 'implausible time'], identity: ['身份不符', 'another’s name'], too_often: ['过于频繁', 'too often'],
  refused: ['数据库拒收', 'refused by the database'],
}
/** Why a message is in quarantine; a reason that this page does not know as the house calls it. */
export const reasonName = (reason: string): string => reasons[reason]?.[language.value === 'zh' ? 0 : 1] ?? reason
/** What people call a rule, or a cause that was found among lamps; one that this page does not know, by its id. */
export function ruleName(rules: Rule[], id: string): string {
  const word = `cause_${id}`
  return rules.find((each) => each.id === id)?.title[language.value] || (word in words.en ? say(word as Word) : id)
}
/** A role's name: the known ones in Chinese, others as declared. */
export const roleName = (role: string): string => (language.value === 'zh' ? (roles[role] ?? role) : role)
export const kindName = (kinds: Kind[], name: string): string => {
  const kind = kinds.find((each) => each.name === name)
  return kind ? named(kind) : name
}
