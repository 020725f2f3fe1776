/** The version of rustre, as deno.json has it. */
export const version = "0.1.0";
