/**
 * Types of client.js. All times are in milliseconds. What each option does is in docs/client-js.md.
 */

// Errors

/** Anything that goes wrong here; `cause` is the error behind it where there is one. */
export class PenstockError extends Error {}

/** The server said no, and would say so again. */
export class RefusedError extends PenstockError {
  /** The HTTP status; null where it was said over a WebSocket. */
  readonly status: number | null;
  /** A WebSocket's error code, such as "unknown_topic"; null where HTTP said it. */
  readonly code: string | null;
  readonly problem: Problem | null;
}

/** A publication that gave way to newer ones in a full queue. */
export class DroppedError extends PenstockError {}

/** It was closed before this was done. */
export class ClosedError extends PenstockError {}

/** RFC 9457; other members may be there as well. */
export interface Problem {
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
  [member: string]: unknown;
}

// Waiting

export interface BackoffOptions {
  /** The bound of the first wait; 500. */
  initial?: number;
  /** The bound that the waits grow to; 30,000. */
  maximum?: number;
  /** By how much the bound grows with each failure; 2. */
  factor?: number;
  /** Whether waits are drawn at random from 0 up to the bound; true. */
  jitter?: boolean;
}

export class Backoff implements Required<BackoffOptions> {
  constructor(options?: BackoffOptions);
  readonly initial: number;
  readonly maximum: number;
  readonly factor: number;
  readonly jitter: boolean;
  /** The longest wait after so many failures in a row before this one. */
  bound(failures: number): number;
  /** The wait; `chance` is a number from 0 to 1, drawn where it isn't given. */
  delay(failures: number, chance?: number): number;
}

export type ConnectionState = "connecting" | "open" | "waiting" | "closed";

export interface State {
  readonly state: ConnectionState;
  /** Failures in a row. */
  readonly attempt: number;
  /** How long it waits now; null where only the browser knows. */
  readonly delay: number | null;
  /** What the connection is over. */
  readonly transport?: "native" | "fetch" | "shared";
  /** Whether the connection is shared with other tabs. */
  readonly shared?: boolean;
  /** Why it isn't shared though it was to be, or why a WebSocket was closed. */
  readonly reason?: string;
  /** A WebSocket's close code. */
  readonly code?: number;
  /** What went wrong. */
  readonly error?: Error;
  /** The same from the worker that tabs share, as text. */
  readonly problem?: string;
}

// Messages

/** A cursor that the server gave, or where to begin without one. */
export type After = "earliest" | "latest" | (string & {});

export interface EventMessage<T = unknown> {
  type: "event";
  /** Null in the format sse, which doesn't say. */
  topic: string | null;
  /** The cursor after this event. */
  id: string;
  data: T;
  /** Its name, where it has one. */
  event?: string;
}

export interface GapMessage {
  type: "gap";
  topic: string | null;
  requested: string | null;
  resumed: string | null;
  /** How many events are missing; null where that can't be known. */
  missed: number | null;
  /** "unknown": the browser's EventSource gave up before it told where it was. */
  reason: "expired" | "epoch" | "slow" | "unknown";
}

export interface EndMessage {
  type: "end";
  topic: string | null;
  id: string | null;
}

export interface ErrorMessage {
  type: "error";
  code: string;
  message: string;
  topic?: string | null;
}

export type Message<T = unknown> = EventMessage<T> | GapMessage | EndMessage | ErrorMessage;

// Reading over fetch

export type HeadersOption = HeadersInit | (() => HeadersInit | Promise<HeadersInit>);

export interface RequestOptions {
  headers?: HeadersOption;
  backoff?: Backoff | BackoffOptions;
  timeout?: number;
  credentials?: RequestCredentials;
  fetch?: typeof globalThis.fetch;
}

export interface StreamOptions extends RequestOptions {
  method?: string;
  /** Text, bytes, a form; anything else is sent as JSON. */
  body?: unknown;
  after?: After;
  format?: "ndjson" | "sse";
  /** What becomes of the data of an event in the format sse; JSON.parse. */
  parse?: (text: string) => unknown;
  signal?: AbortSignal;
  attempts?: number;
  idempotencyKey?: string;
  onState?: (state: State) => void;
}

export interface MessageStream<T = unknown> extends AsyncIterableIterator<Message<T>> {
  next(): Promise<IteratorResult<Message<T>, undefined>>;
  return(value?: unknown): Promise<IteratorResult<Message<T>, undefined>>;
}

export function readStream<T = unknown>(
  url: string | URL,
  options?: StreamOptions,
): MessageStream<T>;

export function toReadableStream<T>(iterable: AsyncIterable<T> | Iterable<T>): ReadableStream<T>;

// Events

/** A gap or an end; `data` is the message as an EventSource gives it, `detail` what it says. */
export interface NoticeEvent<M> extends MessageEvent {
  readonly detail: M;
}

export interface FailureEvent extends Event {
  readonly error?: Error;
}

type Handler<T, E> = ((this: T, event: E) => unknown) | null;

/** An `EventTarget` that knows what its events are. */
declare class Emitter<Events> extends EventTarget {
  addEventListener<K extends keyof Events>(
    type: K,
    listener: (event: Events[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: ((event: MessageEvent) => unknown) | EventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof Events>(
    type: K,
    listener: (event: Events[K]) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: ((event: MessageEvent) => unknown) | EventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

interface SourceEvents {
  open: Event;
  message: MessageEvent<string>;
  /** A lost connection or a refusal; a `MessageEvent` where the server named an event so. */
  error: FailureEvent;
  gap: NoticeEvent<GapMessage>;
  end: NoticeEvent<EndMessage>;
  state: CustomEvent<State>;
}

// Event sources

export interface EventSourceOptions {
  withCredentials?: boolean;
  after?: After;
  /** With headers it is over fetch. */
  headers?: HeadersOption;
  transport?: "native" | "fetch";
  timeout?: number;
  backoff?: Backoff | BackoffOptions;
  fetch?: typeof globalThis.fetch;
  shared?: boolean;
  worker?: string | URL;
}

export class ReconnectingEventSource extends Emitter<SourceEvents> {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSED: 2;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSED: 2;
  constructor(url: string | URL, options?: EventSourceOptions);
  readonly url: string;
  readonly withCredentials: boolean;
  readonly readyState: 0 | 1 | 2;
  readonly state: ConnectionState;
  /** The cursor of the last event; "" before the first. */
  readonly lastEventId: string;
  onopen: Handler<this, Event>;
  onmessage: Handler<this, MessageEvent<string>>;
  onerror: Handler<this, FailureEvent>;
  ongap: Handler<this, NoticeEvent<GapMessage>>;
  onend: Handler<this, NoticeEvent<EndMessage>>;
  onstate: Handler<this, CustomEvent<State>>;
  close(): void;
}

// WebSocket

/** `encode` and `decode` of @msgpack/msgpack fit here. */
export interface Codec {
  encode(value: unknown): Uint8Array;
  decode(data: Uint8Array): unknown;
}

export interface WebSocketOptions {
  codec?: Codec;
  protocols?: string[];
  backoff?: Backoff | BackoffOptions;
  queue?: number;
  token?: string | (() => string | Promise<string>);
  heartbeat?: number;
  timeout?: number;
  shared?: boolean;
  worker?: string | URL;
  /** The class of sockets; in Node before version 22 that of the package ws. */
  WebSocket?: new (url: string, protocols?: string[]) => object;
}

export interface SubscribeOptions {
  after?: After;
  slow?: "skip" | "conflate" | "block" | "disconnect";
  /** Messages that wait for a loop before the server is asked to wait; 1000. */
  buffer?: number;
}

interface SubscriptionEvents<T> {
  open: Event;
  message: MessageEvent<T>;
  gap: NoticeEvent<GapMessage>;
  end: NoticeEvent<EndMessage>;
  error: FailureEvent;
}

export interface Subscription<T = unknown> extends Emitter<SubscriptionEvents<T>> {
  readonly topic: string;
  readonly cursor: string | null;
  onopen: Handler<this, Event>;
  onmessage: Handler<this, MessageEvent<T>>;
  ongap: Handler<this, NoticeEvent<GapMessage>>;
  onend: Handler<this, NoticeEvent<EndMessage>>;
  onerror: Handler<this, FailureEvent>;
  close(): void;
  [Symbol.asyncIterator](): AsyncIterableIterator<Message<T>>;
}

export interface PublicationOptions {
  /** The event's name. */
  event?: string;
  /** The idempotency key; drawn at random where there is none. */
  key?: string;
}

export interface Published {
  topic: string;
  /** The cursor of the last event stored. */
  id: string;
  count: number;
}

interface ClientEvents {
  state: CustomEvent<State>;
  error: FailureEvent;
  dropped: CustomEvent<{ topic: string; data: unknown }>;
}

export class WebSocketClient extends Emitter<ClientEvents> {
  constructor(url: string | URL, options?: WebSocketOptions);
  readonly url: string;
  readonly state: ConnectionState;
  /** Publications that have not been acknowledged. */
  readonly queued: number;
  /** Publications that had to give way to newer ones. */
  readonly dropped: number;
  onstate: Handler<this, CustomEvent<State>>;
  onerror: Handler<this, FailureEvent>;
  ondropped: Handler<this, CustomEvent<{ topic: string; data: unknown }>>;
  subscribe<T = unknown>(topic: string, options?: SubscribeOptions): Subscription<T>;
  publish(topic: string, data: unknown, options?: PublicationOptions): Promise<Published>;
  close(): void;
}

// Publishing over HTTP

export interface PublishOptions extends RequestOptions, PublicationOptions {
  /** Whether `data` holds many values, which are stored together or not at all. */
  many?: boolean;
  signal?: AbortSignal;
  attempts?: number;
}

export interface Stored {
  count: number;
  /** Cursors of the first event stored and of the last. */
  first: string;
  last: string;
  /** Whether it had been stored before, under the same key. */
  replayed: boolean;
}

export function publish(
  url: string | URL,
  data: unknown,
  options?: PublishOptions,
): Promise<Stored>;

export interface PublisherOptions extends RequestOptions {
  queue?: number;
  attempts?: number;
}

interface PublisherEvents {
  state: CustomEvent<State>;
  dropped: CustomEvent<{ data: unknown }>;
}

export class Publisher extends Emitter<PublisherEvents> {
  constructor(url: string | URL, options?: PublisherOptions);
  readonly url: string;
  readonly state: "open" | "waiting" | "closed";
  readonly queued: number;
  readonly dropped: number;
  onstate: Handler<this, CustomEvent<State>>;
  ondropped: Handler<this, CustomEvent<{ data: unknown }>>;
  publish(data: unknown, options?: PublicationOptions): Promise<Stored>;
  close(): void;
}

export {};
