#include "daemons/sources/json_splitter.h"

#include "daemons/sources/json_parse.h"

namespace culvert::sources {

namespace {

bool isSpace(char byte) {
  return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

Error broken(std::string what) {
  return makeError(Errc::kDecode, std::move(what));
}

Result<nlohmann::json> parseObject(const std::string& text) {
  auto value = parseJson(text);
  if (!value || !value->is_object()) return broken("not a JSON object: " + text.substr(0, 60));
  return value;
}

}  // namespace

Result<void> JsonSplitter::push(std::string_view bytes) {
  while (!bytes.empty()) {
    if (inString_) {
      bytes.remove_prefix(TRY(pushString(bytes)));
      continue;
    }
    TRY(pushByte(bytes.front()));
    bytes.remove_prefix(1);
  }
  return {};
}

/// Takes what of `bytes` belongs to the string begun, and says how much that was.
Result<std::size_t> JsonSplitter::pushString(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size() && inString_) {
    const char byte = bytes[at++];
    if (escaped_) {
      escaped_ = false;
    } else if (byte == '\\') {
      escaped_ = true;
    } else if (byte == '"') {
      inString_ = false;
    }
  }
  TRY(append(bytes.substr(0, at)));
  return at;
}

Result<void> JsonSplitter::pushByte(char byte) {
  switch (where_) {
    case Where::kBefore:
    case Where::kAfter:
      return outside(byte);
    case Where::kRest:
      return inRest(byte);
    case Where::kArray:
      return inArray(byte);
    case Where::kElement:
      return inElement(byte);
  }
  return {};
}

Result<void> JsonSplitter::outside(char byte) {
  if (isSpace(byte)) return {};
  if (byte != '{' || where_ == Where::kAfter) return broken("where a JSON object should begin");
  where_ = isList() ? Where::kRest : Where::kElement;
  return open(byte);
}

Result<void> JsonSplitter::open(char byte) {
  if (++depth_ > limits_.depth) {
    return broken("JSON nested more than " + std::to_string(limits_.depth) + " deep");
  }
  return append({&byte, 1});
}

Result<void> JsonSplitter::inRest(char byte) {
  if (byte == '{' || byte == '[') {
    TRY(open(byte));
    if (byte == '{' || depth_ != 2 || key_ != arrayKey_) return {};
    if (hadArray_) return broken("two arrays \"" + arrayKey_ + "\"");
    hadArray_ = true;
    where_ = Where::kArray;
    return {};
  }
  if (byte == '"') {
    inString_ = true;
    if (depth_ == 1) keyAt_ = text_.size();
  } else if (byte == ':' && depth_ == 1) {
    key_ = text_.substr(keyAt_ + 1, text_.find('"', keyAt_ + 1) - keyAt_ - 1);
  } else if (byte == '}' || byte == ']') {
    if (--depth_ == 0) where_ = Where::kAfter;
  }
  return append({&byte, 1});
}

Result<void> JsonSplitter::inArray(char byte) {
  if (isSpace(byte)) return {};
  if (byte == '{' && (element_.empty() || wantsElement_)) {
    wantsElement_ = false;
    element_.clear();
    where_ = Where::kElement;
    return open(byte);
  }
  if (byte == ',' && !element_.empty() && !wantsElement_) {
    wantsElement_ = true;
    return {};
  }
  if (byte != ']' || wantsElement_) return broken("an array's element that is not an object");
  --depth_;
  where_ = Where::kRest;
  return append("]");
}

Result<void> JsonSplitter::inElement(char byte) {
  if (byte == '{' || byte == '[') return open(byte);
  TRY(append({&byte, 1}));
  if (byte == '"') inString_ = true;
  if (byte != '}' && byte != ']') return {};
  if (--depth_ != (isList() ? 2 : 0)) return {};
  return emit();
}

Result<void> JsonSplitter::append(std::string_view bytes) {
  const bool isElement = where_ == Where::kElement;
  std::string& text = isElement ? element_ : text_;
  const std::size_t limit = isElement ? limits_.objectBytes : limits_.restBytes;
  if (text.size() + bytes.size() > limit) {
    return broken("a JSON object of more than " + std::to_string(limit) + " bytes");
  }
  text += bytes;
  return {};
}

Result<void> JsonSplitter::emit() {
  auto object = TRY(parseObject(element_));
  where_ = isList() ? Where::kArray : Where::kBefore;
  if (isList()) {
    element_ = "}";  // not empty: there was one
  } else {
    element_.clear();
  }
  return sink_(std::move(object));
}

Result<void> JsonSplitter::finish() {
  if (where_ != (isList() ? Where::kAfter : Where::kBefore)) return broken("cut short");
  if (isList()) rest_ = TRY(parseObject(text_));
  return {};
}

}  // namespace culvert::sources
