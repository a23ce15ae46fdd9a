//go:build linux

package nfqueue

import (
	"reflect"
	"slices"

	"github.com/tidelay/tidelay/pkg/fault"
)

// chainCache keeps encoded chains. Most changes of a fault change no rule but a
// comment, and encoding is half of the work of a change. It is not safe for
// concurrent use.
type chainCache struct {
	faults map[faultChain][]encodedRule
	// bases are the base chains for one input.
	input baseInput
	bases map[baseOf][]encodedRule
}

func newChainCache() chainCache {
	return chainCache{faults: make(map[faultChain][]encodedRule)}
}

// faultChain is all that the rules of a fault's chain depend on, but for the
// comment of the first one.
type faultChain struct {
	family            family
	slot              slot
	partition, copies bool
}

// baseOf names a base chain.
type baseOf struct {
	family    family
	direction fault.Direction
}

// baseInput is all that the rules of the base chains depend on.
type baseInput struct {
	devices []string
	exempt  fault.Exemption
	names   []string
	matches []fault.Match
	slots   slots
}

// base returns the rules of a base chain.
func (c *chainCache) base(of baseOf, p policy, target layout) ([]encodedRule, error) {
	input := baseInput{devices: p.devices, exempt: p.exempt, slots: target.slots}
	for _, f := range target.faults {
		input.names, input.matches = append(input.names, f.Name), append(input.matches, f.Match)
	}
	if !reflect.DeepEqual(input, c.input) {
		c.input, c.bases = input, make(map[baseOf][]encodedRule)
	}
	return cached(c.bases, of, func() ([]encodedRule, error) {
		return encodeRules(of.family, p.baseRules(of.direction, of.family == ipv6, target))
	})
}

// fault returns the rules of a fault's chain.
func (c *chainCache) fault(of faultChain, p policy, f fault.Fault) ([]encodedRule, error) {
	rules, err := cached(c.faults, of, func() ([]encodedRule, error) {
		return encodeRules(of.family, p.faultRules(of.slot, of.family == ipv6, f, of.copies))
	})
	if err != nil {
		return nil, err
	}
	rules = slices.Clone(rules)
	rules[0].comment = formatFault(f)
	return rules, nil
}

// cached returns the value of a key, which is made if there is none.
func cached[K comparable, V any](values map[K]V, key K, makeValue func() (V, error)) (V, error) {
	if v, ok := values[key]; ok {
		return v, nil
	}
	v, err := makeValue()
	if err == nil {
		values[key] = v
	}
	return v, err
}
