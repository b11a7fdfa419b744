// Who does something here, asked once and remembered by the browser; and one deed at a time, with the house's refusal.
import { ref } from 'vue'

const KEY = 'lamplighter.who'
export const who = ref(localStorage.getItem(KEY) ?? '')

export const sentence = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export function useDeed() {
  const sending = ref(false)
  const refused = ref('')
  /** Do it; true when the house has done it too, else its sentence stands in `refused`. */
  async function run(act: (who: string) => Promise<unknown>): Promise<boolean> {
    if (sending.value) return false
    sending.value = true
    refused.value = ''
    try {
      await act(who.value.trim())
      localStorage.setItem(KEY, who.value.trim())
      return true
    } catch (error) {
      refused.value = sentence(error)
      return false
    } finally {
      sending.value = false
    }
  }
  return { sending, refused, run }
}
