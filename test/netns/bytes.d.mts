export const BLOCK_BYTES: number;
export function pieces(size: number, offset?: number): Generator<Buffer>;
export function digestOf(size: number, offset?: number): string;
export function matches(data: Buffer, offset: number): boolean;
export function parseSize(text: string): number | undefined;
