package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// median is that of the values, which are not sorted by it; NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// ratio is the quotient of two medians and the interval that holds it with 95 %
// confidence.
type ratio struct {
	Value, Low, High float64
}

// resamples of the bootstrap: ample for two digits of an interval.
const resamples = 2000

// ratioOf divides the median of a by that of b. The interval is the percentile
// bootstrap's: rounds are drawn again, with replacement, from a and from b
// together where both have the same number of them, as round i of the one ran
// beside round i of the other.
func ratioOf(a, b []float64) ratio {
	r := ratio{Value: median(a) / median(b)}
	if len(a) == 0 || len(b) == 0 {
		return ratio{math.NaN(), math.NaN(), math.NaN()}
	}
	rng := rand.New(rand.NewPCG(1, 2)) // the same results say the same
	paired := len(a) == len(b)
	quotients := make([]float64, resamples)
	as, bs := make([]float64, len(a)), make([]float64, len(b))
	for i := range quotients {
		for j := range as {
			k := rng.IntN(len(a))
			as[j] = a[k]
			if paired {
				bs[j] = b[k]
			}
		}
		for j := range bs {
			if !paired {
				bs[j] = b[rng.IntN(len(b))]
			}
		}
		quotients[i] = median(as) / median(bs)
	}
	slices.Sort(quotients)
	r.Low, r.High = quotients[resamples*25/1000], quotients[resamples*975/1000-1]
	return r
}
