package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestMemoryIsNotOverrun runs two units that take much memory and two that take
// little. Those that never ran are taken for large.
func TestMemoryIsNotOverrun(t *testing.T) {
	if testing.Short() {
		t.Skip("takes memory and half a minute: make test")
	}
	t.Parallel()
	own := bytes.Repeat([]byte{1}, 500<<20) // which no run is charged
	defer runtime.KeepAlive(own)
	h := newTokens(t, "terraform")
	h.keepStatesIn(localStore(h))
	dir := t.TempDir()
	h.flags = append(h.flags, "--allow-write", strings.Join([]string{filepath.Dir(h.starts), dir}, ":"))
	must(t, os.WriteFile(filepath.Join(dir, "work"), []byte(`cd '`+dir+`'
case $1 in
heavy-*)
	mkdir heavy || echo "$1 beside another heavy one" >>trouble
	dd if=/dev/zero of=/dev/null bs=400M count=4 status=none
	sleep 0.5
	rmdir heavy;;
light-*)
	test $2 = 1 && exit # not measured yet
	touch $1
	for i in $(seq 300); do
		test -e light-c -a -e light-d && exit
		sleep 0.1
	done
	echo "$1 alone" >>trouble;;
esac
`), 0o600))
	h.replace("platform.cue", `owner: "platform"`, `owner: "platform"
platform: limits: {parallel: 4, memory: 800Mi}
platform: policy: waivers: [{rule: "module-provisioner", blueprint: "token", reason: "it stands for a provider"}]`)
	h.replace("blueprints/token/main.tf", "triggers_replace = var.generation\n", `triggers_replace = var.generation
  provisioner "local-exec" { command = "sh '`+dir+`/work' ${var.pave.request} ${var.generation}" }
`)
	h.write("blueprints/token/variables.tf", "variable \"pave\" { type = any }\n")
	write := func(generation int) {
		var requests strings.Builder
		for _, name := range []string{"heavy-a", "heavy-b", "light-c", "light-d"} {
			fmt.Fprintf(&requests, "request: %q: {blueprint: \"token\", service: \"api\", environment: \"development\", inputs: generation: %d}\n", name, generation)
		}
		h.write("catalog/api.cue", "package platform\n\nservice: api: {title: \"API\", owner: \"platform\", type: \"service\", lifecycle: \"experimental\", tier: 3}\n"+requests.String())
		h.commit(fmt.Sprintf("Generation %d", generation))
	}
	for generation := 1; generation <= 2; generation++ {
		write(generation)
		h.pave(0, "apply")
		h.expectAllReady(4)
	}
	if trouble, err := os.ReadFile(filepath.Join(dir, "trouble")); !os.IsNotExist(err) {
		t.Errorf("%v: %s", err, trouble)
	}
}
