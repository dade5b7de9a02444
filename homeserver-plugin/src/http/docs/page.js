'use strict';
(() => {
  // The page may be served under any prefix: everything is asked relative to it.
  const root = new URL('.', location.href);
  const byId = (id) => document.getElementById(id);
  const VERBS = ['get', 'post', 'put', 'delete', 'patch', 'head'];

  // Text from the server is only ever set as text, never as markup.
  function el(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
      else if (value === true) node.setAttribute(key, '');
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, String(value));
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  // What stands between backticks is code, in descriptions as in source.
  function rich(text) {
    return String(text || '').split('`').map((part, at) => (at % 2 ? el('code', {}, part) : part));
  }

  let document_ = {};

  function follow(schema) {
    for (let steps = 0; schema && schema.$ref && steps < 16; steps += 1) {
      const parts = schema.$ref.replace(/^#\//, '').split('/');
      schema = parts.reduce((at, part) => at && at[part.replace(/~1/g, '/').replace(/~0/g, '~')], document_);
    }
    return schema || {};
  }

  function kindOf(schema) {
    if (schema.$ref) {
      const name = schema.$ref.split('/').pop();
      const target = follow(schema);
      return target.type === 'object' || target.properties ? name : kindOf(target);
    }
    const alternatives = schema.oneOf || schema.anyOf;
    if (alternatives) return alternatives.map(kindOf).join(' or ');
    if (schema.allOf) return schema.allOf.map(kindOf).join(' and ');
    if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' or ');
    const types = [].concat(schema.type || 'anything');
    return types.map((type) => {
      if (type === 'array') return 'list of ' + kindOf(schema.items || {});
      if (type === 'string') return 'text';
      if (type === 'integer') return 'whole number';
      if (type === 'boolean') return 'true or false';
      if (type === 'null') return 'nothing';
      return type;
    }).join(' or ');
  }

  function sample(schema, depth) {
    schema = follow(schema);
    if (schema.example !== undefined) return schema.example;
    if (schema.examples && schema.examples.length) return schema.examples[0];
    if (schema.default !== undefined) return schema.default;
    if (schema.enum) return schema.enum[0];
    if (depth > 6) return null;
    if (schema.allOf) return Object.assign({}, ...schema.allOf.map((part) => sample(part, depth + 1)));
    const alternatives = schema.oneOf || schema.anyOf;
    if (alternatives) return sample(alternatives.find((one) => one.type !== 'null') || alternatives[0], depth + 1);
    const type = [].concat(schema.type || (schema.properties ? 'object' : 'null')).find((one) => one !== 'null');
    if (type === 'object') {
      const value = {};
      for (const [name, inner] of Object.entries(schema.properties || {})) value[name] = sample(inner, depth + 1);
      return value;
    }
    if (type === 'array') return [sample(schema.items || {}, depth + 1)];
    if (type === 'string') return '';
    if (type === 'integer' || type === 'number') return 0;
    if (type === 'boolean') return false;
    return null;
  }

  const withoutNothing = (kind) => kind.split(' or ').filter((one) => one !== 'nothing').join(' or ');

  // The fields of an object, and of the objects inside it, indented by their path.
  function fieldRows(schema, prefix, depth) {
    let target = follow(schema);
    const alternatives = target.oneOf || target.anyOf;
    if (alternatives) target = follow(alternatives.find((one) => one.type !== 'null') || {});
    if ([].concat(target.type).includes('array')) {
      target = follow(target.items || {});
      if (prefix) prefix = prefix.replace(/\.$/, '[].');
    }
    const parts = target.allOf ? target.allOf.map(follow) : [target];
    return parts.flatMap((part) => Object.entries(part.properties || {}).flatMap(([name, inner]) => {
      const optional = !(part.required || []).includes(name);
      const kind = optional ? withoutNothing(kindOf(inner)) + ', optional' : kindOf(inner);
      return [
        el('tr', {},
          el('th', { scope: 'row' }, prefix ? el('span', { class: 'hint' }, prefix) : null, name),
          el('td', { class: 'kind' }, kind),
          el('td', {}, ...rich(inner.description || follow(inner).description))),
        ...(depth > 0 ? fieldRows(inner, `${prefix}${name}.`, depth - 1) : []),
      ];
    }));
  }

  function fieldsTable(schema) {
    const rows = fieldRows(schema, '', 2);
    return rows.length ? el('table', {}, el('tbody', {}, ...rows)) : null;
  }

  const jsonOf = (content) => {
    const entries = Object.entries(content || {});
    const found = entries.find(([type]) => type.includes('json')) || entries[0];
    return found ? { type: found[0], schema: found[1].schema || {}, example: found[1].example } : null;
  };

  const firstSentence = (text) => (text || '').split(/\n\s*\n|(?<=\.)\s/)[0];

  function operations() {
    const list = [];
    for (const [path, item] of Object.entries(document_.paths || {})) {
      for (const verb of VERBS) {
        const op = item[verb];
        if (!op) continue;
        const parameters = [...(item.parameters || []), ...(op.parameters || [])].map(follow);
        const security = op.security === undefined ? document_.security || [] : op.security;
        list.push({
          path, verb, op, parameters,
          id: (verb + path).replace(/[^a-z0-9]+/gi, '-').replace(/-$/, ''),
          tag: (op.tags && op.tags[0]) || 'Other',
          says: op.summary || firstSentence(op.description),
          more: op.description && op.description !== op.summary ? op.description : '',
          signedIn: security.some((one) => Object.keys(one).length > 0),
        });
      }
    }
    return list;
  }

  function parameterField(operation, parameter) {
    const id = `${operation.id}-${parameter.in}-${parameter.name}`;
    const schema = follow(parameter.schema || {});
    const bounds = [schema.minimum !== undefined ? `from ${schema.minimum}` : '', schema.maximum !== undefined ? `to ${schema.maximum}` : '']
      .filter(Boolean).join(' ');
    const hint = [withoutNothing(kindOf(parameter.schema || {})), bounds, parameter.required ? '' : 'optional'].filter(Boolean).join(', ');
    const example = parameter.example !== undefined ? parameter.example : schema.example;
    const input = el('input', {
      id, class: 'mono', autocomplete: 'off', spellcheck: 'false', required: !!parameter.required,
      placeholder: example === undefined ? '' : String(example), 'aria-describedby': id + '-hint',
    });
    const where = parameter.in === 'header' ? 'header ' : '';
    const node = el('div', {},
      el('label', { for: id }, where, el('code', {}, parameter.name)),
      input,
      el('p', { class: 'hint', id: id + '-hint' }, ...rich(parameter.description), ` (${hint})`));
    return { node, input, parameter };
  }

  function requestFor(operation, fields, body) {
    let path = operation.path;
    const query = new URLSearchParams();
    const headers = {};
    for (const { input, parameter } of fields) {
      const value = input.value.trim();
      if (parameter.in === 'path') {
        if (!value) return { missing: input };
        path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
      } else if (value && parameter.in === 'query') query.append(parameter.name, value);
      else if (value && parameter.in === 'header') headers[parameter.name] = value;
    }
    const url = new URL(path.replace(/^\//, ''), root);
    url.search = query.toString();
    const token = byId('token').value.trim();
    if (operation.signedIn && token) headers.Authorization = 'Bearer ' + token;
    const init = { method: operation.verb.toUpperCase(), headers, cache: 'no-store' };
    if (body && body.input.value.trim()) {
      headers['Content-Type'] = body.type;
      init.body = body.input.value;
    }
    return { url, init };
  }

  function asCommand({ url, init }) {
    const quote = (text) => `'${text.replace(/'/g, `'\\''`)}'`;
    const parts = ['curl', '-i'];
    if (init.method !== 'GET') parts.push('-X', init.method);
    for (const [name, value] of Object.entries(init.headers)) {
      parts.push('-H', quote(name === 'Authorization' ? 'Authorization: Bearer $TOKEN' : `${name}: ${value}`).replace(/'(Authorization: Bearer \$TOKEN)'/, '"$1"'));
    }
    if (init.body) parts.push('--data', quote(init.body));
    parts.push(quote(String(url)));
    return parts.join(' ');
  }

  function pretty(text) {
    try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
  }

  // Answers without end (live streams) are shown as they come; so much is kept and no more.
  const KEEP = 200000;
  async function readInto(response, pre) {
    if (!response.body) return;
    const json = (response.headers.get('content-type') || '').includes('json');
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let text = '';
    for (;;) {
      const { value, done } = await reader.read();
      text += done ? decoder.decode() : decoder.decode(value, { stream: true });
      if (text.length > KEEP) text = '…' + text.slice(-KEEP);
      if (!json || done) pre.textContent = json ? pretty(text) : text;
      if (done) return;
    }
  }

  function tryIt(operation) {
    const fields = operation.parameters.map((parameter) => parameterField(operation, parameter));
    const content = operation.op.requestBody ? jsonOf(follow(operation.op.requestBody).content) : null;
    let body = null;
    let bodyNode = null;
    if (content) {
      const id = operation.id + '-body';
      const input = el('textarea', { id, spellcheck: 'false' });
      input.value = JSON.stringify(content.example !== undefined ? content.example : sample(content.schema, 0), null, 2);
      body = { input, type: content.type };
      bodyNode = el('div', {}, el('label', { for: id }, 'Body'), input);
    }
    const head = el('p', { role: 'status' });
    const answer = el('pre', { tabindex: '0', hidden: true, 'aria-label': 'Answer' });
    const headers = el('details', { hidden: true }, el('summary', {}, 'Headers'));
    let running = null;
    const go = el('button', { type: 'submit', class: 'go' }, 'Send');
    const stop = el('button', { type: 'button', hidden: true, onclick: () => running && running.abort() }, 'Stop');
    const copy = el('button', { type: 'button', onclick: async () => {
      const request = requestFor(operation, fields, body);
      if (request.missing) { request.missing.focus(); return; }
      try { await navigator.clipboard.writeText(asCommand(request)); head.textContent = 'The command is in the clipboard.'; }
      catch { head.textContent = asCommand(request); }
    } }, 'Copy as curl');

    async function send() {
      const request = requestFor(operation, fields, body);
      if (request.missing) {
        head.replaceChildren('Fill in the field that the path needs.');
        request.missing.focus();
        return;
      }
      running = new AbortController();
      go.disabled = true;
      stop.hidden = false;
      answer.hidden = true;
      headers.hidden = true;
      answer.textContent = '';
      head.textContent = 'Asking …';
      const started = performance.now();
      try {
        const response = await fetch(request.url, { ...request.init, signal: running.signal });
        const took = Math.round(performance.now() - started);
        const mood = response.ok ? 'good' : response.status >= 400 ? 'bad' : 'other';
        head.replaceChildren(el('span', { class: 'status ' + mood }, `${response.status} ${response.statusText}`), ` after ${took} ms`);
        headers.replaceChildren(el('summary', {}, 'Headers'), el('pre', {}, [...response.headers].map(([k, v]) => `${k}: ${v}`).join('\n')));
        headers.hidden = false;
        answer.hidden = false;
        await readInto(response, answer);
        if (!answer.textContent) answer.textContent = '(no body)';
      } catch (error) {
        if (error.name === 'AbortError') head.append(' (stopped)');
        else head.replaceChildren(el('span', { class: 'status bad' }, 'No answer'), ' The server could not be reached from here.');
      } finally {
        go.disabled = false;
        stop.hidden = true;
        running = null;
      }
    }
    return el('form', {
      novalidate: true,
      onsubmit: (event) => { event.preventDefault(); if (!running) send(); },
      onkeydown: (event) => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); if (!running) send(); } },
    }, ...fields.map((field) => field.node), bodyNode, el('div', { class: 'row' }, go, stop, copy), head, headers, answer);
  }

  function answersOf(operation) {
    const rows = Object.entries(operation.op.responses || {}).map(([status, response]) => {
      const target = follow(response);
      return el('tr', {}, el('th', { scope: 'row' }, status), el('td', {}, ...rich(target.description)));
    });
    const good = Object.entries(operation.op.responses || {}).find(([status]) => status.startsWith('2'));
    const content = good ? jsonOf(follow(good[1]).content) : null;
    const fields = content ? fieldsTable(content.schema) : null;
    return [
      rows.length ? el('h3', {}, 'Answers') : null,
      rows.length ? el('table', {}, el('tbody', {}, ...rows)) : null,
      fields ? el('h3', {}, follow(content.schema).type === 'array' ? 'Each item' : 'Fields of the answer') : null,
      fields,
    ].filter(Boolean);
  }

  function card(operation) {
    const details = el('details', { class: 'op', id: operation.id },
      el('summary', {},
        el('span', { class: 'verb ' + operation.verb }, operation.verb.toUpperCase()),
        el('span', { class: 'path' }, operation.path),
        el('span', { class: 'says' }, operation.says || ''),
        operation.signedIn ? el('span', { class: 'lock' }, byId('routes').dataset.locked) : null));
    // Built when opened for the first time: the page stays light however many routes there are.
    details.addEventListener('toggle', () => {
      if (!details.open || details.dataset.built) return;
      details.dataset.built = '1';
      const content = operation.op.requestBody ? jsonOf(follow(operation.op.requestBody).content) : null;
      const bodyFields = content ? fieldsTable(content.schema) : null;
      details.append(el('div', { class: 'inside' },
        operation.more ? el('p', {}, ...rich(operation.more)) : null,
        el('h3', {}, 'Try it'), tryIt(operation),
        bodyFields ? el('h3', {}, 'Fields of the body') : null, bodyFields,
        ...answersOf(operation)));
    });
    return details;
  }

  function build() {
    const all = operations();
    const described = Object.fromEntries((document_.tags || []).map((tag) => [tag.name, tag.description || '']));
    const order = [...(document_.tags || []).map((tag) => tag.name), ...all.map((one) => one.tag)];
    const tags = [...new Set(order)].filter((tag) => all.some((one) => one.tag === tag));
    const list = byId('list');
    const place = byId('operations');
    for (const tag of tags) {
      const title = tag.charAt(0).toUpperCase() + tag.slice(1);
      const heading = el('h2', {}, title);
      const links = el('ul');
      const listHeading = el('h2', {}, title);
      place.append(heading);
      if (described[tag]) place.append(el('p', {}, ...rich(described[tag])));
      const members = all.filter((one) => one.tag === tag);
      for (const operation of members) {
        operation.card = card(operation);
        place.append(operation.card);
        operation.link = el('li', {}, el('a', { href: '#' + operation.id, onclick: () => { operation.card.open = true; } },
          el('span', { class: 'verb ' + operation.verb }, operation.verb.toUpperCase()), operation.path));
        links.append(operation.link);
        operation.text = `${operation.verb} ${operation.path} ${operation.says} ${operation.more} ${tag}`.toLowerCase();
      }
      list.append(listHeading, links);
    }
    const openTarget = () => {
      const target = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
      if (target && target.matches('details.op')) { target.open = true; target.scrollIntoView(); }
    };
    addEventListener('hashchange', openTarget);
    openTarget();

    const find = byId('find');
    find.addEventListener('input', () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      list.classList.toggle('searching', words.length > 0);
      let shown = 0;
      for (const operation of all) {
        const fits = words.every((word) => operation.text.includes(word));
        operation.link.hidden = !fits;
        operation.card.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      const state = byId('state');
      state.hidden = words.length === 0;
      state.textContent = shown === 0 ? 'No route fits these words.' : `${shown} of ${all.length} routes fit.`;
    });
    find.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') { find.value = ''; find.dispatchEvent(new Event('input')); }
      if (event.key === 'Enter') {
        const first = all.find((operation) => !operation.card.hidden);
        if (first) { first.card.open = true; first.card.scrollIntoView(); first.card.querySelector('summary').focus(); }
      }
    });
    addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) return;
      if (event.key === '/') { event.preventDefault(); find.focus(); find.select(); return; }
      if (event.key !== 'j' && event.key !== 'k') return;
      const cards = all.map((operation) => operation.card).filter((one) => !one.hidden);
      const at = cards.findIndex((one) => one.contains(document.activeElement));
      const next = at < 0 ? cards[0] : cards[at + (event.key === 'j' ? 1 : -1)];
      if (next) { event.preventDefault(); next.querySelector('summary').focus(); }
    });
  }

  // Who serves this, where the server says so.
  async function about() {
    const path = byId('about').dataset.info;
    if (!path) return;
    try {
      const response = await fetch(new URL(path, root), { cache: 'no-store' });
      if (!response.ok) return;
      const info = await response.json();
      const facts = [
        ['Key of this service', info.plugin], ['Homeserver', info.homeserver], ['Version', info.version],
        ['Accounts', info.open_registration === true ? 'open to everybody' : 'for users of the homeserver'],
      ];
      byId('about').replaceChildren(...facts.filter(([, value]) => value)
        .map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, String(value)))));
    } catch { /* The page is useful without it. */ }
  }

  byId('show').addEventListener('click', () => {
    const hidden = byId('token').type === 'password';
    byId('token').type = hidden ? 'text' : 'password';
    byId('show').textContent = hidden ? 'Hide' : 'Show';
    byId('show').setAttribute('aria-pressed', String(hidden));
  });

  (async () => {
    about();
    const state = byId('state');
    try {
      const response = await fetch(new URL('openapi.json', root));
      if (!response.ok) throw new Error(String(response.status));
      document_ = await response.json();
    } catch {
      state.textContent = 'The list of routes could not be read. Reload the page to try again.';
      return;
    }
    state.hidden = true;
    build();
  })();
})();
