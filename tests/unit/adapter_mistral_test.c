#include "adapter_fixture.h"

int main(int argc, char **argv)
{
    return adapter_fixture_main("mistral", PST_FIXTURES "/mistral", argc, argv);
}
