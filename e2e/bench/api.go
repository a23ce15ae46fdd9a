package bench

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/cabundle/catest"
)

// Fleet is an API server with that many TidbClusters. It is for reading only,
// but takes Events.
type Fleet struct {
	Clusters int
	// StatefulSets, up to ten, and ReplicaSets are how many of each with TiDB
	// Operator's label there are for a TidbCluster. The injector asks for no
	// others, so that an API server that has more sends it no more.
	StatefulSets, ReplicaSets int
	// CA signs the injector's certificates. It is there before the injector starts, so
	// that the injector need write nothing.
	CA catest.CA
}

// NewFleet returns a Fleet of ordinary TidbClusters: PD, TiKV, TiDB, a monitor,
// and discovery, updated once.
func NewFleet(tb testing.TB, clusters int) *Fleet {
	tb.Helper()
	ca := catest.New(tb, WebhookName+"-ca", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	return &Fleet{Clusters: clusters, StatefulSets: 4, ReplicaSets: 2, CA: ca}
}

// Handler serves f.
func (f *Fleet) Handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(path string, value any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, value) })
	}
	lists := map[string]*metav1.APIResourceList{}
	for _, k := range f.kinds() {
		path := "/apis/" + k.GroupVersion().String()
		if k.Group == "" {
			path = "/api/" + k.Version
		}
		if lists[path] == nil {
			lists[path] = &metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: k.GroupVersion().String()}
			answer(path, lists[path])
		}
		lists[path].APIResources = append(lists[path].APIResources, metav1.APIResource{
			Name: k.resource, Kind: k.Kind, Namespaced: k.namespaced, Verbs: metav1.Verbs{"get", "list", "watch"},
		})
		mux.HandleFunc("GET "+path+"/"+k.resource, k.watch)
		if k.namespaced {
			mux.HandleFunc("GET "+path+"/namespaces/{namespace}/"+k.resource, k.watch)
			mux.HandleFunc("GET "+path+"/namespaces/{namespace}/"+k.resource+"/{name}", k.read)
		} else {
			mux.HandleFunc("GET "+path+"/"+k.resource+"/{name}", k.read)
		}
	}
	answer("/api", metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	answer("/apis", f.groups())
	mux.HandleFunc("/apis/events.k8s.io/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.Copy(w, r.Body)
	})
	return mux
}

func (f *Fleet) groups() metav1.APIGroupList {
	all := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	seen := map[string]bool{"": true}
	for _, k := range f.kinds() {
		if !seen[k.Group] {
			served := metav1.GroupVersionForDiscovery{GroupVersion: k.GroupVersion().String(), Version: k.Version}
			all.Groups = append(all.Groups, metav1.APIGroup{Name: k.Group, Versions: []metav1.GroupVersionForDiscovery{served}, PreferredVersion: served})
		}
		seen[k.Group] = true
	}
	return all
}

// read answers a get.
func (k kind) read(w http.ResponseWriter, r *http.Request) {
	found, ok := k.at(0), k.get == nil
	if !ok && k.get != nil {
		found, ok = k.get(types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")})
	}
	if !ok {
		writeJSON(w, http.StatusNotFound, metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
			Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Message: r.URL.Path,
		})
		return
	}
	if wantsMetadata(r) {
		w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
		_, _ = w.Write(protobuf(found.meta))
		return
	}
	writeJSON(w, http.StatusOK, k.whole(found))
}

// watch streams all objects, says that these were all, and then stays silent. A list
// without a watch is answered only for a kind of which there are no objects.
func (k kind) watch(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("watch") == "" && k.count == 0 {
		writeJSON(w, http.StatusOK, metav1.List{TypeMeta: metav1.TypeMeta{Kind: k.Kind + "List", APIVersion: k.GroupVersion().String()}})
		return
	}
	if query.Get("watch") == "" {
		http.Error(w, "only watched", http.StatusMethodNotAllowed)
		return
	}
	send := k.jsonEvents(w)
	if wantsMetadata(r) {
		send = protobufEvents(w)
	}
	if query.Get("sendInitialEvents") == "true" {
		for i := range k.count {
			send("ADDED", k.at(i))
		}
		end := metav1.ObjectMeta{ResourceVersion: "2000000", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}}
		send("BOOKMARK", object{meta: end})
	}
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func wantsMetadata(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata")
}

// whole is all of an object, as JSON has it.
func (k kind) whole(o object) any {
	typeMeta := metav1.TypeMeta{}
	typeMeta.APIVersion, typeMeta.Kind = k.ToAPIVersionAndKind()
	if o.full == nil {
		return metav1.PartialObjectMetadata{TypeMeta: typeMeta, ObjectMeta: o.meta}
	}
	return o.full(typeMeta, o.meta)
}

func (k kind) jsonEvents(w http.ResponseWriter) func(event string, o object) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	return func(event string, o object) {
		_ = encoder.Encode(map[string]any{"type": event, "object": k.whole(o)})
	}
}

// protobufEvents frames events by their length.
func protobufEvents(w http.ResponseWriter) func(event string, o object) {
	w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf;stream=watch")
	return func(event string, o object) {
		frame := marshal(&metav1.WatchEvent{Type: event, Object: runtime.RawExtension{Raw: protobuf(o.meta)}})
		_, _ = w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(frame))))
		_, _ = w.Write(frame)
	}
}

// protobuf is an object's metadata in the envelope that Kubernetes gives
// protobuf messages.
func protobuf(meta metav1.ObjectMeta) []byte {
	envelope := runtime.Unknown{
		TypeMeta: runtime.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		Raw:      marshal(&metav1.PartialObjectMetadata{ObjectMeta: meta}),
	}
	return append([]byte("k8s\x00"), marshal(&envelope)...)
}

// marshal encodes what was made here and cannot fail.
func marshal(message interface{ Marshal() ([]byte, error) }) []byte {
	encoded, _ := message.Marshal()
	return encoded
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}
