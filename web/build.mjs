// Builds the pages into dist/: hashed assets, gzip copies beside them, and HTML templates whose
// {{room}} and {{title}} the encoder fills in. The box's own page is apart, in dist/box/: the box
// carries no player, and the encoder no page of a box. So is the dashboard, in dist/dashboard/: that
// folder is whole by itself, for any web server.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = fileURLToPath(new URL(".", import.meta.url));
const require = createRequire(import.meta.url);

// Phones from about 2017 on. hls.js itself is served as its authors built it (ES5).
const target = ["es2017"];
const common = { bundle: true, minify: true, write: false, target, legalComments: "none" };

if (process.argv.includes("--tests")) {
  const tests = readdirSync(join(here, "test")).filter((name) => name.endsWith(".test.ts"));
  rmSync(join(here, ".tests"), { recursive: true, force: true });
  await build({
    entryPoints: tests.map((name) => join(here, "test", name)),
    outdir: join(here, ".tests"),
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    external: ["node:*"],
    sourcemap: "inline",
  });
} else {
  rmSync(join(here, "dist"), { recursive: true, force: true });
  await pages();
  await box();
  await dashboard();
}

function site(dist) {
  mkdirSync(join(dist, "assets"), { recursive: true });
  const names = {};
  const put = (name, content) => {
    const hash = createHash("sha256").update(content).digest("hex").slice(0, 10);
    const ext = extname(name);
    const hashed = `${basename(name, ext)}-${hash}${ext}`;
    writeFileSync(join(dist, "assets", hashed), content);
    writeFileSync(join(dist, "assets", `${hashed}.gz`), gzipSync(content, { level: 9 }));
    names[name] = hashed;
    return hashed;
  };
  const source = (page) => readFileSync(join(here, "src", page), "utf8");
  const template = (page, as = page) => {
    // What every page begins with is in one place; then the assets under their hashed names.
    const html = source(page)
      .replace("%head%\n", source("head.html"))
      .replace(/%([a-z]+\.[a-z]+)%/g, (_, name) => {
        if (!names[name]) throw new Error(`${page} names an asset that is not built: ${name}`);
        return names[name];
      });
    writeFileSync(join(dist, as), html);
  };
  const sizes = () => {
    for (const [name, hashed] of Object.entries(names)) {
      const raw = readFileSync(join(dist, "assets", hashed)).length;
      const gz = readFileSync(join(dist, "assets", `${hashed}.gz`)).length;
      console.log(`${name.padEnd(12)} ${String(raw).padStart(7)} bytes, ${String(gz).padStart(6)} gzipped`);
    }
  };
  return { names, put, template, sizes };
}

async function box() {
  const { put, template, sizes } = site(join(here, "dist/box"));
  put("icon.svg", readFileSync(join(here, "src/icon.svg")));
  const entry = join(here, "src/box.ts");
  const script = await build({ ...common, entryPoints: [entry], format: "iife" });
  put("box.js", script.outputFiles[0].contents);
  const style = await build({ ...common, entryPoints: [join(here, "src/box.css")] });
  put("box.css", style.outputFiles[0].contents);
  template("box.html");
  sizes();
}

async function dashboard() {
  const dist = join(here, "dist/dashboard");
  const { put, template, sizes } = site(dist);
  // mqtt.js is a file of its own, as its authors built it: it outlives our changes in caches.
  const client = readFileSync(require.resolve("mqtt/dist/mqtt.min"), "utf8");
  const { version } = require("mqtt/package.json");
  const licence = readFileSync(join(dirname(require.resolve("mqtt/package.json")), "LICENSE.md"), "utf8");
  const notice = `/* MQTT.js ${version}, https://github.com/mqttjs/MQTT.js\n\n${licence.trim()}\n*/\n`;
  put("mqtt.js", notice + client.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n"));
  put("icon.svg", readFileSync(join(here, "src/icon.svg")));
  const entry = join(here, "src/dashboard.ts");
  const script = await build({ ...common, entryPoints: [entry], format: "iife" });
  put("dashboard.js", script.outputFiles[0].contents);
  const style = await build({ ...common, entryPoints: [join(here, "src/dashboard.css")] });
  put("dashboard.css", style.outputFiles[0].contents);
  template("dashboard.html", "index.html");
  // What the page should know of the broker; the encoder answers with its own.
  writeFileSync(join(dist, "config.json"), "{}\n");
  sizes();
}

async function pages() {
  const { names, put, template, sizes } = site(join(here, "dist"));

  // hls.js is its own file: a browser that plays HLS itself never asks for it.
  const hls = readFileSync(require.resolve("hls.js/dist/hls.light.min.js"), "utf8");
  const { version } = require("hls.js/package.json");
  const notice = `/* hls.js ${version}, Apache-2.0, https://github.com/video-dev/hls.js */\n`;
  put("hls.js", notice + hls.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n"));
  put("icon.svg", readFileSync(join(here, "src/icon.svg")));

  for (const page of ["player", "rooms"]) {
    const result = await build({
      ...common,
      entryPoints: [join(here, `src/${page}.ts`)],
      format: "iife",
      define: { HLS_ASSET: JSON.stringify(names["hls.js"]) },
    });
    put(`${page}.js`, result.outputFiles[0].contents);
  }
  const style = await build({ ...common, entryPoints: [join(here, "src/style.css")] });
  put("style.css", style.outputFiles[0].contents);

  ["player.html", "rooms.html", "missing.html"].forEach((page) => template(page));
  sizes();
}
