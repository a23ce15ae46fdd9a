package render

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// document is one of some documents. The object is nil if it has only comments.
type document struct {
	number int // from 1
	raw    []byte
	object object
}

// parse parts documents, and reads each.
func parse(content []byte) ([]document, error) {
	reader := yamlutil.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	var all []document
	for number := 1; ; number++ {
		raw, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", number, err)
		}
		if first, rest, _ := bytes.Cut(raw, []byte("\n")); bytes.HasPrefix(first, []byte("---")) {
			raw = rest
		}
		if len(bytes.TrimSpace(raw)) == 0 {
			continue
		}
		converted, err := yaml.YAMLToJSONStrict(raw)
		if err != nil {
			return nil, fmt.Errorf("document %d is no YAML: %w", number, err)
		}
		o, err := unmarshal(converted)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", number, err)
		}
		all = append(all, document{number, raw, o})
	}
}

// unmarshal reads an object in JSON; null is nil.
func unmarshal(content []byte) (object, error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	var o object
	if err := decoder.Decode(&o); err != nil {
		return nil, fmt.Errorf("want an object with apiVersion and kind, and not %.40q", content)
	}
	return o, nil
}

// decode returns an object as JSON, with the metadata that a patch needs, and as a pod.
func decode(o object) ([]byte, *corev1.Pod, error) {
	if o["metadata"] == nil {
		o["metadata"] = object{}
	}
	content, err := json.Marshal(o)
	if err != nil {
		return nil, nil, fmt.Errorf("encode pod: %w", err)
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(content, pod); err != nil {
		return nil, nil, fmt.Errorf("decode pod: %w", err)
	}
	return content, pod, nil
}

// isList reports whether an object is a list of objects.
func isList(o object) bool {
	kind, _ := o["kind"].(string)
	_, has := o["items"].([]any)
	return has && strings.HasSuffix(kind, "List")
}

// items are the objects of a list; none if it is no list.
func items(o object) []object {
	if !isList(o) {
		return nil
	}
	all, _ := o["items"].([]any)
	var objects []object
	for _, item := range all {
		if one, ok := item.(object); ok {
			objects = append(objects, one)
		}
	}
	return objects
}

// head is what an object is.
type head struct{ metav1.PartialObjectMetadata }

// headOf reads what an object is.
func headOf(o object) (head, error) {
	var h head
	content, err := json.Marshal(object{"apiVersion": o["apiVersion"], "kind": o["kind"], "metadata": o["metadata"]})
	if err == nil {
		err = json.Unmarshal(content, &h.PartialObjectMetadata)
	}
	switch {
	case err != nil:
		return h, fmt.Errorf("decode object: %w", err)
	case h.APIVersion == "" || h.Kind == "":
		return h, errors.New("want an object with apiVersion and kind")
	default:
		return h, nil
	}
}

// String returns the kind and the name.
func (h head) String() string {
	name := h.Name
	if name == "" && h.GenerateName != "" {
		name = h.GenerateName + "*"
	}
	if h.Namespace != "" {
		name = h.Namespace + "/" + name
	}
	return strings.TrimSpace(h.Kind + " " + name)
}

// is reports whether it is of a group and kind, in whatever version.
func (h head) is(group, kind string) bool {
	return schema.FromAPIVersionAndKind(h.APIVersion, h.Kind).GroupKind() == schema.GroupKind{Group: group, Kind: kind}
}
