/** The words that the starter model can say: everyday ones, some beyond ASCII so that text handling is exercised. */
const words = `
the a of and to in is it that was for on are with they be at one have this from by hot some what there we can out
other were all your when up use word how said an each she which do their time if will way about many then them would
like so these her long make thing see him two has look more day could go come did my sound no most number who over
know water than call first people may down side been now find any new work part take get place made live where after
back little only round man year came show every good me give our under name very through just form much great think
say help low line before turn cause same mean differ move right boy old too does tell sentence set three want air
well also play small end put home read hand port large spell add even land here must big high such follow act why ask
men change went light kind off need house picture try us again animal point mother world near build self earth father
river stone lantern maple harbor window garden winter summer autumn morning evening cloud thunder meadow copper silver
golden velvet whisper echo mountain valley forest ocean island bridge tower candle mirror feather anchor compass ladder
orchard pepper ginger honey butter bread apple pear plum cherry lemon walnut acorn clover thistle fern willow cedar
sparrow heron otter badger fox rabbit turtle salmon beetle cricket moth spider wolf bear deer horse goat sheep
blue green red amber violet white black quiet loud slow quick gentle bright dark warm cold soft hollow narrow wide
runs sings falls rises waits turns opens closes carries follows gathers scatters drifts glows hums listens wanders
between beneath beyond beside toward without within against among around along across inside outside upon until
engine signal ticket station market kitchen table paper letter story question answer number circle square corner
café naïve über señor jalapeño façade smörgåsbord piñata déjà crème Ærø Żubr Ωmega привет мир 水 火 山 川 ☕ ★ 🙂 🌍
`
const starts = `The A It There When They We Some Every One Each If Then Now Here Before After Where River Stone Winter`

export interface Word {
  text: string
  /** Said in the middle of a line: with a space before it. */
  inside: boolean
}

/** Distinct, in order. Words that begin a sentence also stand without a space before them. */
export const spoken: Word[] = [
  ...distinct([...split(words), ...split(starts)]).map((word) => ({ text: ` ${word}`, inside: true })),
  ...distinct(split(starts)).map((word) => ({ text: word, inside: false })),
]

/** Pairs that let unknown words be read in fewer pieces; the model never says them. */
export const merges: ReadonlyArray<readonly [string, string]> = split(
  't-h h-e i-n e-r a-n r-e o-n a-t e-n n-d e-s o-r t-e e-d i-s i-t a-l a-r s-t n-g l-e s-e v-e c-o m-e d-e r-o l-i',
).map((pair) => pair.split('-') as [string, string])

function split(text: string): string[] {
  return text.split(/\s+/).filter(Boolean)
}

function distinct(texts: string[]): string[] {
  return [...new Set(texts)]
}
