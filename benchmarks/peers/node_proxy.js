// node http-proxy with a keep-alive agent, X-Forwarded-* and an access log.
// Usage: node node_proxy.js PORT ORIGIN_PORT ACCESS_LOG [CERT KEY]
'use strict';
const fs = require('fs');
const http = require('http');
const https = require('https');
const httpProxy = require('http-proxy');

const [port, originPort, accessLog, cert, key] = process.argv.slice(2);
const log = fs.createWriteStream(accessLog, { flags: 'a' });
const proxy = httpProxy.createProxyServer({
  target: `http://127.0.0.1:${originPort}`,
  agent: new http.Agent({ keepAlive: true }),
  xfwd: true,
});
proxy.on('error', (error, request, response) => {
  if (response.writeHead && !response.headersSent) response.writeHead(502);
  response.end();
});

function serve(request, response) {
  response.on('finish', () => {
    log.write(`${request.socket.remoteAddress} [${new Date().toISOString()}] ` +
      `"${request.method} ${request.url} HTTP/${request.httpVersion}" ${response.statusCode}\n`);
  });
  proxy.web(request, response);
}

const server = cert
  ? https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, serve)
  : http.createServer(serve);
server.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
