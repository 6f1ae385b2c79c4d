/** Look of an exported notebook, in light and dark. */
export const PAGE_STYLE: string = `
:root{color-scheme:light dark;--ground:#fff;--ink:#1f2328;--soft:#59636e;--line:#d1d9e0;--box:#f6f8fa;--bad:#b3261e;--badbox:#fdf1f0;--word:#0550ae;--text:#0a6640;--figure:#953800}
@media(prefers-color-scheme:dark){:root{--ground:#15181c;--ink:#e6e8eb;--soft:#9aa4af;--line:#353b43;--box:#1d2127;--bad:#ff8a80;--badbox:#2c1b1b;--word:#79b8ff;--text:#7ee0a5;--figure:#ffb77c}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 4rem}
pre,code{font:13.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{margin:.4rem 0;padding:.6rem .8rem;overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere}
section.code{display:flex;margin:.9rem 0}
.count{flex:0 0 2.2rem;padding-top:.65rem;color:var(--soft);font:12px ui-monospace,monospace;text-align:right;padding-right:.6rem}
.cell{flex:1;min-width:0}
.source,.raw,.text pre{background:var(--box);border:1px solid var(--line);border-radius:6px}
.output{padding:.2rem .8rem;overflow-x:auto}
.output pre,.stdout{padding-left:.8rem}
.stderr,.error{background:var(--badbox);border-left:3px solid var(--bad)}
figure{margin:.3rem 0}
img{max-width:100%}
table{border-collapse:collapse;font-size:14px;margin:.4rem 0}
th,td{border-bottom:1px solid var(--line);padding:.25rem .7rem}
a{color:var(--word)}
blockquote{margin:0;padding-left:1rem;border-left:3px solid var(--line);color:var(--soft)}
.ts-keyword{color:var(--word)}.ts-string{color:var(--text)}.ts-number{color:var(--figure)}.ts-comment{color:var(--soft);font-style:italic}
.ansi-bold{font-weight:600}.ansi-dim{color:var(--soft)}.ansi-red{color:var(--bad)}.ansi-green{color:var(--text)}.ansi-blue,.ansi-cyan{color:var(--word)}.ansi-yellow,.ansi-magenta{color:var(--figure)}
@media print{.count{display:none}section.code{break-inside:avoid}}
`;
