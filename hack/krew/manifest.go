package main

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"
)

// manifestName is the file that Krew installs from. Its name is that of the plugin.
const manifestName = "tidelay.yaml"

// manifest is what Krew knows of a plugin, in the format v1alpha2.
type manifest struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       spec     `json:"spec"`
}

type metadata struct {
	Name string `json:"name"`
}

type spec struct {
	Version          string     `json:"version"`
	Homepage         string     `json:"homepage"`
	ShortDescription string     `json:"shortDescription"`
	Description      string     `json:"description"`
	Caveats          string     `json:"caveats"`
	Platforms        []platform `json:"platforms"`
}

// platform is an archive, and for which machines it is. All files in it are installed.
type platform struct {
	Selector selector `json:"selector"`
	URI      string   `json:"uri"`
	SHA256   string   `json:"sha256"`
	Bin      string   `json:"bin"`
}

type selector struct {
	MatchLabels labels `json:"matchLabels"`
}

type labels struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
}

func newPlatform(p program, uri, sum string) platform {
	return platform{Selector: selector{labels{p.os, p.arch}}, URI: uri, SHA256: sum, Bin: p.name()}
}

// isVersion reports whether Krew takes a version.
func isVersion(text string) bool {
	_, err := version.ParseSemantic(text)
	return err == nil && strings.HasPrefix(text, "v")
}

// encode returns the manifest of a version.
func encode(version string, platforms []platform) ([]byte, error) {
	content, err := yaml.Marshal(manifest{
		APIVersion: "krew.googlecontainertools.github.com/v1alpha2", Kind: "Plugin", Metadata: metadata{Name: "tidelay"},
		Spec: spec{
			Version: version, Homepage: "https://github.com/tidelay/tidelay",
			ShortDescription: "Make TiDB clusters' networks slow, lossy or cut",
			Description: `Makes the network of TidbClusters slow, lossy or cut, on purpose and for a
while, and shows what it really does. set, partition, topology and run need
Tidelay's controller; the other verbs work without it.
`,
			Caveats: `To have kubectl complete the words of this plugin, put a program onto the PATH:

  kubectl tidelay completion kubectl >kubectl_complete-tidelay
  chmod +x kubectl_complete-tidelay
`,
			Platforms: platforms,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return content, nil
}
