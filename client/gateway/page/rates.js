// rates.js - rates, time to go and expected cost, from counts over time.  Pure: the time is an argument.
const WINDOW_S = 30;  // what a rate is the mean of
const KEPT = 120;     // samples of one batch
const ENOUGH = 3;     // jobs in the window that make a rate worth more than the mean since the beginning

export const doneOf = c => c.completed + c.failed + c.expired + c.cancelled;
const answeredOf = c => c.completed + c.failed;

export class Rates {
    #samples = new Map(); // of a key: [{t, n}], oldest first

    // Counts that stay are no samples; one that went back belongs to something that began anew.
    add(key, t, n) {
        let list = this.#samples.get(key);
        if (!list || list.at(-1).n > n)
            this.#samples.set(key, list = []);
        if (!list.length || (t > list.at(-1).t && n > list.at(-1).n))
            list.push({t, n});
        if (list.length > KEPT)
            list.shift();
    }

    // {perS, n, quietS}: a second, how many, and for how long now none; null: not known yet.
    over(key, now) {
        const list = this.#samples.get(key);
        if (!list || now - list[0].t < 2)
            return null;
        let first = list[0];
        for (const s of list)
            if (s.t <= now - WINDOW_S)
                first = s;
        const n = list.at(-1).n - first.n;
        return {perS: n / (now - first.t), n, quietS: now - list.at(-1).t};
    }

    perS(key, now) {
        return this.over(key, now)?.perS ?? null;
    }
}

// Of late where enough happened of late, else since the beginning; nothing where it has been quiet for longer than that
// explains.
function paceOf(recent, mean) {
    if (recent && recent.n >= ENOUGH)
        return recent.perS;
    if (recent && mean !== null && recent.quietS > Math.max(WINDOW_S, 5 / mean))
        return 0;
    return mean;
}

// How a batch comes along: jobs a second, seconds to go, and what it will have cost; null where that cannot be said.
export function outlook(batch, rates, now) {
    const c = batch.request_counts;
    const left = c.total - doneOf(c);
    const age = batch.in_progress_at ? now - batch.in_progress_at : 0;
    const mean = age >= 2 && doneOf(c) ? doneOf(c) / age : null;
    const perS = paceOf(rates.over(batch.id, now), mean);
    const cost = batch.usage?.cost_usd ?? 0;
    return {
        perS,
        leftS: perS > 0 && left ? left / perS : null,
        expectedUsd: answeredOf(c) ? (cost / answeredOf(c)) * (c.total - c.expired - c.cancelled) : null,
    };
}

// Of differences a step: sums over the last minute (or overS) before each step, comparable with a limit a minute.  null:
// nothing yet.
export function perMinute(steps, stepS, overS = 60) {
    const n = Math.max(1, Math.round(overS / stepS));
    let sum = 0;
    return steps.map((v, i) => {
        sum += v ?? 0;
        if (i >= n)
            sum -= steps[i - n] ?? 0;
        return v === null ? null : (sum * 60) / (n * stepS);
    });
}

export function sumLists(lists, length) {
    const sums = new Array(length).fill(null);
    for (const list of lists)
        list.forEach((v, i) => {
            if (v !== null && v !== undefined)
                sums[i] = (sums[i] ?? 0) + v;
        });
    return sums;
}

export const total = list => list.reduce((sum, v) => sum + (v ?? 0), 0);
