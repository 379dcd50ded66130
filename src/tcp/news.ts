/** What a segment brought, as bits: what the owner is told when the segment has been processed. */

export const NEWS_ESTABLISHED = 1;
/** Data of ours was acknowledged. */
export const NEWS_ACKED = 2;
export const NEWS_RECEIVED = 4;
/** The peer's FIN is in order. */
export const NEWS_FIN = 8;
/** Our FIN was acknowledged. */
export const NEWS_FIN_ACKED = 16;
/** Nothing more is exchanged. */
export const NEWS_FINISHED = 32;
