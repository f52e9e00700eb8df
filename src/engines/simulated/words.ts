/** What a launch line of a simulated engine begins with. */
export const program = 'paddock-simulated-engine'
/** Where the line's environment has the engine's bearer key. */
export const keyVariable = 'PADDOCK_ENGINE_KEY'
