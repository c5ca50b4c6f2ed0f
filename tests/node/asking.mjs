// What the scripts beside this one share: the client, the stand-in's scripts, and how they tell what they found.

import OpenAI from "openai";

export const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0 });

/** A prompt that tells the stand-in how to answer; the mark makes its requests known by their scenario. */
export const prompt = (mark, script) => `Scenario ${mark}. stand-in: ${JSON.stringify(script)}`;

export const user = (mark, script) => ({ role: "user", content: prompt(mark, script) });

/** A call of a tool, as the stand-in's scripts have it. */
export const call = (name, input = {}) => ({ name: `mcp__client__${name}`, input });

/** Runs each scenario, one after another, and prints what it gave as a line of JSON. */
export async function tell(area, scenarios) {
  for (const [name, scenario] of Object.entries(scenarios)) {
    const given = await scenario(`${area} ${name}`).catch((error) => ({ failed: String(error?.stack ?? error) }));
    console.log(JSON.stringify({ name, given }));
  }
}

/** What an error of the client's tells of its cause. */
export async function fault(asking) {
  try {
    await asking();
  } catch (error) {
    const { name } = error.constructor;
    return { kind: name, status: error.status, type: error.type, code: error.code, param: error.param };
  }
  return { kind: "none" };
}
