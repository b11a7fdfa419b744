// How things look on the map: one colour a state, one shape a kind.
import type { ExpressionSpecification, LayerSpecification } from 'maplibre-gl'

import type { Kind } from './api'
import type { Colours } from './look'

/** Shapes by order of kinds in the catalogue; a second role of a dotted kind is a square. */
const SHAPES = ['dot', 'ring', 'triangle', 'diamond', 'hexagon'] as const
export type Shape = (typeof SHAPES)[number] | 'square'

export function shapeOf(kindIndex: number, roleIndex: number): Shape {
  const shape = SHAPES[Math.min(kindIndex, SHAPES.length - 1)] ?? 'hexagon'
  return roleIndex > 0 && (shape === 'dot' || shape === 'ring') ? 'square' : shape
}

/** Kinds that report where they are: their points move. */
export const moves = (kind: Kind): boolean => ['lon_deg', 'lat_deg'].every((name) => kind.fields.some((f) => f.name === name))

const state: ExpressionSpecification = ['coalesce', ['feature-state', 'state'], ['get', 'state']]
const byState = (c: Colours): ExpressionSpecification =>
  ['match', state, 4, c.critical, 3, c.major, 2, c.minor, 1, c.info, 0, c.fine, c.silent]
const roadState: ExpressionSpecification = ['coalesce', ['feature-state', 'state'], 0]
const width = (main: number, secondary: number, branch: number): ExpressionSpecification =>
  ['match', ['get', 'rank'], 'main', main, 'secondary', secondary, branch]
const zoomed = (far: ExpressionSpecification | number, near: ExpressionSpecification | number): ExpressionSpecification =>
  ['interpolate', ['exponential', 1.5], ['zoom'], 11, far, 17, near]
const shape = (...names: Shape[]): ExpressionSpecification => ['in', ['get', 'shape'], ['literal', names]]

/** Layers from the ground up; sources are roads, assets, movers, hot (all that is not fine) and chosen. */
export function layers(c: Colours): LayerSpecification[] {
  const stateColour = byState(c)
  const points = (source: string): LayerSpecification[] => [
    {
      id: `${source}-dot`, type: 'circle', source, filter: shape('dot'),
      paint: {
        'circle-radius': zoomed(1.8, 6), 'circle-color': stateColour,
        'circle-stroke-width': zoomed(0, 1), 'circle-stroke-color': c.ground,
      },
    },
    {
      id: `${source}-ring`, type: 'circle', source, filter: shape('ring'),
      paint: {
        'circle-radius': zoomed(2, 6), 'circle-color': c.ground,
        'circle-stroke-width': zoomed(1.4, 3), 'circle-stroke-color': stateColour,
      },
    },
    {
      id: `${source}-icon`, type: 'symbol', source, filter: shape('square', 'triangle', 'diamond', 'hexagon'),
      layout: {
        'icon-image': ['get', 'shape'], 'icon-size': ['interpolate', ['linear'], ['zoom'], 10, 0.22, 13, 0.55, 17, 1],
        'icon-allow-overlap': true, 'icon-ignore-placement': true,
      },
      paint: { 'icon-color': stateColour, 'icon-halo-color': c.ground, 'icon-halo-width': 1.5 },
    },
  ]
  return [
    { id: 'ground', type: 'background', paint: { 'background-color': c.ground } },
    {
      id: 'roads', type: 'line', source: 'roads', layout: { 'line-cap': 'round', 'line-join': 'round' },
      paint: {
        'line-color': ['match', ['get', 'rank'], 'main', c.roads[0], 'secondary', c.roads[1], c.roads[2]],
        'line-width': zoomed(width(3, 2, 1.2), width(22, 15, 10)),
      },
    },
    {
      id: 'roads-alert', type: 'line', source: 'roads', layout: { 'line-cap': 'round', 'line-join': 'round' },
      paint: {
        'line-color': ['match', roadState, 4, c.critical, 3, c.major, 2, c.minor, c.info],
        'line-opacity': ['case', ['>', roadState, 0], 0.42, 0],
        'line-width': zoomed(5, 24), 'line-blur': zoomed(2, 6),
      },
    },
    {
      id: 'road-names', type: 'symbol', source: 'roads', minzoom: 12,
      layout: {
        'symbol-placement': 'line', 'text-field': ['get', 'zh'], 'text-size': 12, 'text-letter-spacing': 0.06,
        'text-font': ['sans-serif'], 'symbol-spacing': 420, 'text-offset': [0, 1.1],
      },
      paint: { 'text-color': c.names, 'text-halo-color': c.ground, 'text-halo-width': 1.4 },
    },
    {
      id: 'halo', type: 'circle', source: 'hot', filter: ['>=', ['get', 'state'], 2],
      paint: {
        'circle-radius': zoomed(['match', ['get', 'state'], 4, 15, 3, 12, 9], ['match', ['get', 'state'], 4, 30, 3, 25, 19]),
        'circle-color': stateColour, 'circle-opacity': 0.22, 'circle-blur': 0.35,
      },
    },
    ...points('assets'),
    ...points('movers'),
    ...points('hot'), // once more on top, so that a thousand fine lamps do not hide the red one
    {
      id: 'chosen', type: 'circle', source: 'chosen',
      paint: {
        'circle-radius': zoomed(9, 16), 'circle-color': 'transparent',
        'circle-stroke-width': 2, 'circle-stroke-color': c.chosen,
      },
    },
  ]
}

/** Layers on which a click means an asset, the topmost first. */
export const CLICKABLE = ['hot', 'movers', 'assets'].flatMap((s) => [`${s}-icon`, `${s}-ring`, `${s}-dot`])

const SIZE = 48 // pixels of an icon image, shown at half
const SOFT = 8 // pixels over which the distance field fades, as MapLibre expects

/** Draw a shape as a signed distance field, so that the map can colour it and give it an outline. */
export function icon(name: Shape): { width: number; height: number; data: Uint8ClampedArray } {
  const data = new Uint8ClampedArray(SIZE * SIZE * 4)
  for (let y = 0; y < SIZE; y++) {
    for (let x = 0; x < SIZE; x++) {
      const inside = -distance(name, x + 0.5 - SIZE / 2, y + 0.5 - SIZE / 2)
      data[(y * SIZE + x) * 4 + 3] = Math.round(255 * Math.min(1, Math.max(0, 0.75 + inside / (SOFT * 4))))
    }
  }
  return { width: SIZE, height: SIZE, data }
}

/** Pixels from a point to the edge of a regular shape about the middle, negative inside. */
function distance(name: Shape, x: number, y: number): number {
  const sides = { square: 4, triangle: 3, diamond: 4, hexagon: 6, dot: 24, ring: 24 }[name]
  const turn = { square: Math.PI / 4, triangle: -Math.PI / 2, diamond: 0, hexagon: Math.PI / 2, dot: 0, ring: 0 }[name]
  const inner = { square: 12, triangle: 8, diamond: 11, hexagon: 13, dot: 12, ring: 12 }[name]
  const down = name === 'triangle' ? y - 3 : y
  let far = -Infinity
  for (let k = 0; k < sides; k++) {
    const angle = turn + Math.PI / sides + (2 * Math.PI * k) / sides
    far = Math.max(far, x * Math.cos(angle) + down * Math.sin(angle) - inner)
  }
  return far
}
