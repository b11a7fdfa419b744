import vue from '@vitejs/plugin-vue'
import { defineConfig, loadEnv } from 'vite'

// `npm run dev` shows a house that runs elsewhere: LAMPLIGHTER_HOUSE=http://127.0.0.1:8080
const house = loadEnv('', '.', 'LAMPLIGHTER_')['LAMPLIGHTER_HOUSE'] ?? 'http://127.0.0.1:8080'

export default defineConfig({
  plugins: [vue()],
  build: {
    target: 'es2022',
    license: { fileName: 'licences.md' }, // what the parts we ship ask to be told
    assetsInlineLimit: 0, // the page's policy allows files of its own, not scripts or styles inside it
    chunkSizeWarningLimit: 1500, // MapLibre alone is a megabyte
    rolldownOptions: { checks: { bundlerTimings: false } }, // a busy machine is nothing to warn of
  },
  server: { host: '127.0.0.1', proxy: { '/api': { target: house, changeOrigin: true } } },
})
