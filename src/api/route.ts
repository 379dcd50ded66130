/** What an endpoint is: its place, what it takes, what it gives, and who may ask. The table of all is in routes.ts. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type * as z from 'zod';
import type { Network } from '../index.js';
import type { Grant } from '../policy/index.js';
import type { ApiHost } from './host.js';
import type { Streams } from './streams.js';

/**
 * What a client may do. `status`: ask for version and health. `read`: look at everything. `full`: change things, and see what
 * guests send (captures).
 */
export const RIGHTS = ['status', 'read', 'full'] as const;
export type Rights = (typeof RIGHTS)[number];

/** What a request may do: by its door, or as a guest, who may do what the policy says. */
export type Asker = Rights | { readonly guest: string };

export function allows(have: Rights, need: Rights): boolean {
  return RIGHTS.indexOf(have) >= RIGHTS.indexOf(need);
}

/** One request, checked. */
export interface Call<P = unknown, Q = unknown, B = unknown> {
  readonly network: Network;
  readonly host: ApiHost;
  readonly rights: Rights | 'guest';
  /** The guest that asks, from inside: it gets to see and to change what is its own. */
  readonly guest: string | undefined;
  readonly streams: Streams;
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  /** Pages: the cursor behind which to begin; 0: at the beginning. */
  readonly after: number;
}

/** How an endpoint answers. */
export type Answer =
  /** One JSON value. */
  | { readonly kind: 'json'; readonly schema: z.ZodType }
  /** A page of a list: `{ items, next }`, written piece by piece. */
  | { readonly kind: 'page'; readonly item: z.ZodType }
  /** No content. */
  | { readonly kind: 'none' }
  /** A stream that the endpoint writes by itself. */
  | { readonly kind: 'stream'; readonly type: string; readonly item?: z.ZodType | undefined };

/** What `page` endpoints give: items in the order of their cursors, which are positive. */
export interface Listing<T = unknown> {
  /** undefined: one that does not fit; it cost time and is not written. */
  readonly items: Iterable<T | undefined>;
  /** The cursor that leads to the items behind this one. */
  readonly cursor: (item: T) => number;
}

/** What `stream` endpoints give: called with the response when it is theirs; resolves when they are done. */
export type StreamWriter = (response: ServerResponse, request: IncomingMessage) => void | Promise<void>;

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface Route {
  readonly method: Method;
  /** With parameters in braces: `/v1/flows/{id}`. */
  readonly path: string;
  /** One line for people. */
  readonly summary: string;
  readonly rights: Rights;
  /** What the policy must grant a guest for it; undefined: no guest may ask. */
  readonly grant?: Grant;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly status: number;
  readonly answer: Answer;
  /** Refusals of its own: status and when. */
  readonly refusals?: Readonly<Record<number, string>>;
  readonly respond: (call: Call) => unknown;
}

type Output<T> = T extends z.ZodType ? z.output<T> : undefined;

interface Spec<P, Q, B> {
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  readonly rights?: Rights;
  readonly grant?: Grant;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly status?: number;
  readonly refusals?: Readonly<Record<number, string>>;
}

type Shape = z.ZodObject | undefined;
type Result<R> = R | Promise<R>;

interface JsonSpec<P, Q, B, R extends z.ZodType> extends Spec<P, Q, B> {
  readonly json: R;
  readonly respond: (call: Call<Output<P>, Output<Q>, Output<B>>) => Result<z.output<R>>;
}

interface PageSpec<P, Q, R extends z.ZodType> extends Spec<P, Q, undefined> {
  readonly item: R;
  readonly respond: (call: Call<Output<P>, Output<Q>>) => Listing<z.output<R>>;
}

/** An endpoint that answers with one JSON value. */
export function json<
  R extends z.ZodType,
  P extends Shape = undefined,
  Q extends Shape = undefined,
  B = undefined,
>(spec: JsonSpec<P, Q, B, R>): Route {
  const { json: schema, respond, ...rest } = spec;
  return make(rest, { kind: 'json', schema }, 200, respond as Route['respond']);
}

/** An endpoint that answers with a page of a list. Its query has `limit` and `after`. */
export function page<R extends z.ZodType, P extends Shape = undefined, Q extends Shape = undefined>(
  spec: PageSpec<P, Q, R>,
): Route {
  const { item, respond, ...rest } = spec;
  return make(rest, { kind: 'page', item }, 200, respond as Route['respond']);
}

/** An endpoint that does something and says nothing. */
export function nothing<P extends Shape = undefined, Q extends Shape = undefined, B = undefined>(
  spec: Spec<P, Q, B> & {
    readonly respond: (call: Call<Output<P>, Output<Q>, Output<B>>) => Result<void>;
  },
): Route {
  const { respond, ...rest } = spec;
  return make(rest, { kind: 'none' }, 204, respond as Route['respond']);
}

/** An endpoint that goes on until one side ends it. */
export function stream<P extends Shape = undefined, Q extends Shape = undefined>(
  spec: Spec<P, Q, undefined> & {
    readonly type: string;
    /** What its pieces are, where they are JSON. */
    readonly item?: z.ZodType;
    readonly respond: (call: Call<Output<P>, Output<Q>>) => StreamWriter;
  },
): Route {
  const { type, item, respond, ...rest } = spec;
  return make(rest, { kind: 'stream', type, item }, 200, respond as Route['respond']);
}

function make(
  spec: Spec<unknown, unknown, unknown>,
  answer: Answer,
  status: number,
  respond: Route['respond'],
): Route {
  const rights = spec.rights ?? (spec.method === 'GET' ? 'read' : 'full');
  return { status, ...(spec as Spec<z.ZodObject, z.ZodObject, z.ZodType>), rights, answer, respond };
}
