// Command bench measures virga beside other tools.
//
//	bench run -cache DIR [-work DIR] [-case GLOB] [-rounds N] [-quick]
//	bench check
//	bench plot
//	bench tree DIR FILES BYTES
//
// run measures cases and writes results/DATE.json and DATE.md, check compares
// the newest results with the file budgets, plot draws them for docs/. tree
// makes a directory of files for cases and images.
//
// A case is one piece of work that several tools do. Each round runs every tool
// once, in an order that changes from round to round; the first round is not
// counted. What brings the tool into a known state before (Prepare) is not
// timed. Wall-clock time is the harness's. CPU time is that of all processes,
// daemons included where there are control groups. Memory is the resident set
// of the largest process.
//
// It needs nothing of virga but the binary: what is measured is what users get.
package main
