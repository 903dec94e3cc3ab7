#!/usr/bin/env node
// An OpenID provider for tests: `oidc PORT REDIRECT ACCOUNTS`.
//
// ACCOUNTS are the claims of each account, in JSON, by the name that one signs in
// with; any password will do. What stands below "idToken" of an account is in its
// ID token, what stands below "userinfo" only where that is asked for, and what
// stands below "groups" is the answer to /groups, as Microsoft Graph gives it.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [port, redirect, text] = process.argv.slice(2);
const accounts = JSON.parse(text);
const names = [...new Set(Object.values(accounts).flatMap((a) => [...Object.keys(a.idToken ?? {}), ...Object.keys(a.userinfo ?? {})]))];

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: "pave", client_secret: "known to both of us", redirect_uris: [redirect] }],
  claims: { openid: ["sub", ...names] },
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  async findAccount(ctx, id) {
    const account = accounts[id];
    return account && { accountId: id, claims: async (use) => ({ sub: id, ...account.idToken, ...(use === "userinfo" && account.userinfo) }) };
  },
});

const answer = provider.callback();
createServer(async (request, response) => {
  if (request.url !== "/groups") return answer(request, response);
  const token = await provider.AccessToken.find((request.headers.authorization ?? "").replace(/^Bearer /, ""));
  const groups = token && request.method === "POST" && accounts[token.accountId].groups;
  response.writeHead(groups ? 200 : 403, { "content-type": "application/json" });
  response.end(JSON.stringify({ value: groups || [] }));
}).listen(Number(port), "127.0.0.1");
