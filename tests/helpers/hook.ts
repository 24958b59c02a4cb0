/** A small server that keeps what it is sent, for webhooks. */

import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Sandbox } from './cli.ts';

export type Told = Record<'event' | 'target' | 'message', string> & { operation_id: string | null };

/** @param events of the channel in the sandbox's app.yaml that leads to the server; undefined: the usual ones. */
export async function withHook(
  box: Sandbox,
  events: readonly string[] | undefined,
  work: (told: Told[]) => Promise<void>,
): Promise<void> {
  const told: Told[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      told.push(JSON.parse(body) as Told);
      response.end('ok');
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  const file = join(box.config, 'app.yaml');
  const channel = { name: 'hook', type: 'webhook', url, ...(events === undefined ? {} : { events }) };
  writeFileSync(file, `${readFileSync(file, 'utf8')}notify: { channels: [${JSON.stringify(channel)}] }\n`);
  try {
    await work(told);
  } finally {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
}
