// Dark for the wall, light for a phone in the street: chosen by a person, remembered by the browser.
import { computed, ref, watchEffect } from 'vue'

export type Look = 'dark' | 'light'

const KEY = 'lamplighter.look'
export const look = ref<Look>(localStorage.getItem(KEY) === 'light' ? 'light' : 'dark')

export function turn(): void {
  look.value = look.value === 'dark' ? 'light' : 'dark'
  localStorage.setItem(KEY, look.value)
}

const dark = {
  ground: '#0a1018', roads: ['#35485f', '#29394c', '#1f2c3b'], names: '#8196ae', chosen: '#ffffff', axis: '#93a4b8', grid: '#1d2a39', curve: '#f6b73c',
  critical: '#ff4d5e', major: '#ff9142', minor: '#f7d64a', info: '#5fa8ff', fine: '#36b98a', silent: '#77869a',
} as const
const light: Record<Exclude<keyof typeof dark, 'roads'>, string> & { roads: readonly [string, string, string] } = {
  ground: '#eef2f6', roads: ['#b9c6d3', '#cbd5df', '#d8e0e8'], names: '#4b5d70', chosen: '#14202c', axis: '#4b5d70', grid: '#dbe2ea', curve: '#a86a00',
  critical: '#c8102e', major: '#b04a00', minor: '#7d6200', info: '#1559b0', fine: '#0b7350', silent: '#5c6b7c',
}
export type Colours = typeof light

/** The colours that the map and the curves draw with; the page's own are in style.css, by the same names. */
export const colours = computed<Colours>(() => (look.value === 'dark' ? dark : light))

watchEffect(() => {
  document.documentElement.dataset['theme'] = look.value
})
