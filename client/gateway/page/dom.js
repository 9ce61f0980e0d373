// dom.js - a view says what is to be seen, and of the document only what differs is changed.  Elements stay the same ones
// from one second to the next, so focus, selection, scrolling and open details stay where they are.
const SVG = "http://www.w3.org/2000/svg";
const shown = new WeakMap(); // of an element: the description it was last made to match

const skipped = c => c === null || c === undefined || c === false || c === true;

// Properties: attributes by their names; on…: a listener; style: an object, set through CSSOM because the content security
// policy has no inline styles; init: called once with the new element; key: who it is among its siblings.
export function h(tag, props, ...children) {
    const flat = children.flat(Infinity).filter(c => !skipped(c));
    return {tag, props: props || {}, key: props?.key, children: flat.map(c => (typeof c === "object" ? c : String(c)))};
}

function setStyle(node, before = {}, now = {}) {
    for (const name of new Set([...Object.keys(before), ...Object.keys(now)]))
        if (before[name] !== now[name])
            node.style.setProperty(name, now[name] ?? "");
}

function setProp(node, name, before, now) {
    if (name === "style")
        setStyle(node, before, now);
    else if (name.startsWith("on"))
        node[name] = now || null;
    else if (skipped(now) && now !== true)
        node.removeAttribute(name);
    else
        node.setAttribute(name, now === true ? "" : now);
}

function setProps(node, before, now) {
    for (const name of new Set([...Object.keys(before), ...Object.keys(now)]))
        if (name !== "key" && name !== "init" && (before[name] !== now[name] || name === "style"))
            setProp(node, name, before[name], now[name]);
}

function make(v, inSvg) {
    if (typeof v === "string")
        return document.createTextNode(v);
    const svg = inSvg || v.tag === "svg";
    const node = svg ? document.createElementNS(SVG, v.tag) : document.createElement(v.tag);
    setProps(node, {}, v.props);
    for (const child of v.children)
        node.append(make(child, svg));
    shown.set(node, v);
    v.props.init?.(node);
    return node;
}

function update(node, before, now) {
    if (before === now)
        return;
    if (typeof now === "string") {
        node.data = now;
        return;
    }
    setProps(node, before.props, now.props);
    updateChildren(node, before.children, now.children);
    shown.set(node, now);
}

const alike = (a, b) => (typeof a === "string" ? typeof b === "string" : a.tag === b.tag && a.key === b.key);

// Which of the old children each new one is: by key, or the next one of its kind.
function matches(before, now) {
    let next = 0;
    const keyed = new Map(before.map((v, i) => [v.key, i]).filter(([key]) => key !== undefined));
    return now.map(v => {
        if (v.key !== undefined) {
            const i = keyed.get(v.key);
            return i !== undefined && alike(before[i], v) ? i : -1;
        }
        for (let i = next; i < before.length; i++)
            if (before[i].key === undefined && alike(before[i], v)) {
                next = i + 1;
                return i;
            }
        return -1;
    });
}

function updateChildren(node, before, now) {
    const old = [...node.childNodes];
    const found = matches(before, now);
    const kept = new Set(found);
    old.forEach((child, i) => kept.has(i) || child.remove());
    now.forEach((v, at) => {
        const child = found[at] < 0 ? make(v, node.namespaceURI === SVG) : old[found[at]];
        if (found[at] >= 0)
            update(child, before[found[at]], v);
        if (node.childNodes[at] !== child)
            node.insertBefore(child, node.childNodes[at] || null);
    });
}

// Makes the children of an element what is described.
export function show(node, ...children) {
    const now = h("", null, ...children);
    const before = shown.get(node);
    if (!before)
        node.replaceChildren();
    updateChildren(node, before ? before.children : [], now.children);
    shown.set(node, now);
}
