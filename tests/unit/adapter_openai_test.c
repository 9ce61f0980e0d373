#include "adapter_fixture.h"

int main(int argc, char **argv)
{
    return adapter_fixture_main("openai", PST_FIXTURES "/openai", argc, argv);
}
