package profile

import (
	_ "embed"
	"fmt"
	"slices"
	"sync"

	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// Profile is what is between some zones.
type Profile struct {
	// Name is what spec.profile calls it.
	Name string `json:"name"`
	// What says in a few words which places it is about.
	What string `json:"what"`
	// Zones are its zones, in order of name. They are dealt to those of a TidbCluster in
	// that order.
	Zones []string `json:"zones"`
	// Links has one link of every two zones, and of those zones with themselves in which
	// pods are apart. Names of zones are those in Zones.
	Links []v1alpha1.Link `json:"links"`
	// Sources say where the numbers come from.
	Sources []Source `json:"sources"`
}

// Source is where numbers of a profile come from.
type Source struct {
	// Date is the day of the numbers, as 2023-07-21, or one on which they were there.
	Date string `json:"date"`
	// Address is that of the page that has them.
	Address string `json:"address"`
	// Says is what the page says, and what the profile takes from it.
	Says string `json:"says"`
}

//go:embed profiles.yaml
var file []byte

// profiles are those of the file. It is part of the program, so the tests find out whether it
// can be read, and nobody else has to.
var profiles = sync.OnceValues(func() ([]Profile, error) { return parse(file) }) //nolint:gochecknoglobals // it is read once, and never changes

// parse reads a file of profiles. Fields that a profile does not have are an error.
func parse(content []byte) ([]Profile, error) {
	var all []Profile
	if err := yaml.UnmarshalStrict(content, &all); err != nil {
		return nil, fmt.Errorf("parse profiles: %w", err)
	}
	return all, nil
}

// Names returns the names of the profiles, in the order of the file.
func Names() []string {
	all, _ := profiles()
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	return names
}

// Named returns the profile of a name, and whether there is one. It must not be changed.
func Named(name string) (Profile, bool) {
	all, _ := profiles()
	i := slices.IndexFunc(all, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		return Profile{}, false
	}
	return all[i], true
}
