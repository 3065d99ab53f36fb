package main

import (
	"fmt"
	"strings"
)

// notOneOf says that value is none of the words that it may be, and which of
// them is near. what stands before it: "option --progress:".
func notOneOf(what, value string, words []string) *usageError {
	return &usageError{msg: fmt.Sprintf("%s %q is not one of %s", what, value, strings.Join(words, ", ")), hint: didYouMean(value, words)}
}

// didYouMean is the hint that names the word next to value, "" if none is near.
func didYouMean(value string, words []string) string {
	s := nearest(value, words)
	if s == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %s?", s)
}

// nearest returns the candidate that word was probably meant to be, or "".
// A candidate that is at most two edits away (one for words under four letters)
// counts, and else one that word begins, or that begins word.
func nearest(word string, candidates []string) string {
	best, bestDist := "", 3
	if len(word) < 4 {
		bestDist = 2
	}
	for _, c := range candidates {
		if d := editDistance(word, c); d < bestDist {
			best, bestDist = c, d
		}
	}
	if best != "" || len(word) < 2 {
		return best
	}
	for _, c := range candidates {
		if strings.HasPrefix(c, word) || len(c) > 2 && strings.HasPrefix(word, c) {
			return c
		}
	}
	return ""
}

// editDistance counts insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment).
func editDistance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		cur[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			cur[j+1] = min(prev[j]+change, prev[j+1]+1, cur[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cur[j+1] = min(cur[j+1], before[j-1]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
