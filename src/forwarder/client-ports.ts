/** Ephemeral ports that we play clients from (RFC 6335 section 6). */
export const FIRST_PORT = 49_152;
export const PORTS = 65_536 - FIRST_PORT;
