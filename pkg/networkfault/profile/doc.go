// Package profile has what is between zones of known places, by name: the profiles of a
// NetworkTopology. Their numbers, with where and when they come from, are in
// profiles.yaml and nowhere else.
package profile
