package parser

import "strings"

// nearest gives the option closest to word, or "" if none is close: two changes at most, and no more than half of word.
// Case does not count; the option's own spelling is returned.
func nearest(word string, options []string) string { return nearestWithin(word, options, 2) }

func nearestWithin(word string, options []string, changes int) string {
	best, bestDist := "", min(changes, len(word)/2)+1
	w := strings.ToLower(word)
	for _, o := range options {
		if d := distance(w, strings.ToLower(o), bestDist); d < bestDist && d < len(o) {
			best, bestDist = o, d
		}
	}
	return best
}

// distance is the number of inserted, deleted, changed, or swapped neighbouring bytes between a and b, or limit if that
// is less.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			d := prev[j-1]
			if a[i-1] != b[j-1] {
				d++
			}
			d = min(d, prev[j]+1, cur[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, prev2[j-2]+1)
			}
			cur[j] = d
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return min(prev[len(b)], limit)
}
