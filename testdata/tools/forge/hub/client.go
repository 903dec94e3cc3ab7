package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// object and list are what JSON decodes to.
type (
	object = map[string]any
	list   = []any
)

// client speaks to Gitea.
type client struct {
	base   string // …/api/v1
	public string // the proxy's address, which Gitea's answers hold
}

// reply is an answer. Body is nil, an object, a list, or another JSON value.
type reply struct {
	status int
	header http.Header
	body   any
}

func (r reply) ok() bool { return r.status < 300 }

func (r reply) object() object {
	o, _ := r.body.(object)
	return o
}

// do asks Gitea. Authorization is that of whoever asked the proxy.
func (c client) do(ctx context.Context, authorization, method, path string, query url.Values, body any) (reply, error) {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return reply{}, err
		}
		content = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path+"?"+query.Encode(), content)
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := direct.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, fmt.Errorf("read Gitea's answer: %w", err)
	}
	r := reply{status: response.StatusCode, header: response.Header}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		r.body, err = decode(data)
	}
	return r, err
}

// decode keeps numbers as they are: ids exceed what a float holds.
func decode(data []byte) (any, error) {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("decode JSON: %w", err)
	}
	return value, nil
}

const pageSize = 100 // Gitea's MAX_RESPONSE_ITEMS

// all asks for every page of a list. What Gitea does not page comes whole at
// once, and X-Total-Count tells so. Where the answer is no list it is returned
// as it is.
func (c client) all(ctx context.Context, authorization, path string, query url.Values) (reply, list, error) {
	query = clone(query)
	items := list{}
	for page := 1; ; page++ {
		query.Set("limit", strconv.Itoa(pageSize))
		query.Set("page", strconv.Itoa(page))
		r, err := c.do(ctx, authorization, http.MethodGet, path, query, nil)
		if err != nil || !r.ok() {
			return r, nil, err
		}
		found, _ := r.body.(list)
		items = append(items, found...)
		total, err := strconv.Atoi(r.header.Get("X-Total-Count"))
		if len(found) != pageSize || err == nil && len(items) >= total {
			return r, items, nil
		}
	}
}

func clone(query url.Values) url.Values {
	copied := url.Values{}
	for name, values := range query {
		copied[name] = values
	}
	return copied
}
