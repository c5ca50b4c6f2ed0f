// Answers and arguments of a given form.

import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { call, client, tell, user } from "./asking.mjs";

const model = "haiku";
const Step = z.object({ explanation: z.string(), value: z.number().nullable() });
const Solution = z.object({ steps: z.array(Step), answer: z.enum(["yes", "no"]) });
const SOLUTION = { steps: [{ explanation: "Halve “it”", value: 2.5 }, { explanation: "", value: null }], answer: "yes" };
const response_format = zodResponseFormat(Solution, "solution");

await tell("structured", {
  parsed: async (mark) => {
    const messages = [user(mark, { text: JSON.stringify(SOLUTION) })];
    const { choices } = await client.chat.completions.parse({ model, messages, response_format });
    return { parsed: choices[0].message.parsed, refusal: choices[0].message.refusal };
  },

  streamed: async (mark) => {
    const messages = [user(mark, { chunks: [...JSON.stringify(SOLUTION)] })];
    const stream = client.chat.completions.stream({ model, messages, response_format });
    let partly = 0;
    stream.on("content.delta", ({ parsed }) => (partly += parsed?.steps?.length ? 1 : 0));
    const { choices } = await stream.finalChatCompletion();
    return { parsed: choices[0].message.parsed, partly: partly > 1 };
  },

  refused: async (mark) => {
    const messages = [user(mark, { text: "No.", stop_reason: "refusal" })];
    const { choices } = await client.chat.completions.create({ model, messages, response_format });
    return { reason: choices[0].finish_reason };
  },

  anyObject: async (mark) => {
    const messages = [user(mark, { text: '{"a": 1}' })];
    const { choices } = await client.chat.completions.create({ model, messages, response_format: { type: "json_object" } });
    return { parsed: JSON.parse(choices[0].message.content) };
  },

  calls: async (mark) => {
    const tools = [zodFunction({ name: "solve", parameters: Solution })];
    const messages = [user(mark, { tools: [call("solve", SOLUTION)] })];
    const { choices } = await client.chat.completions.parse({ model, tools, messages });
    return { parsed: choices[0].message.tool_calls[0].function.parsed_arguments };
  },
});
